"""The verbs: every write goes through one of them, with an actor, and leaves an audit entry."""

from approvals.audit import SYSTEM
from approvals.services.batch import cast_vote_in_batch
from approvals.services.database import accept_database
from approvals.services.deciding import (
    Ballot,
    cancel_request,
    cast_vote,
    expire_overdue,
    record_event,
    record_run_event,
    refuse_vote,
    supersede_request,
    withdraw_request,
)
from approvals.services.deliveries import beat_heart, retry_delivery
from approvals.services.inbound import finish_webhook, record_webhook
from approvals.services.opening import Opened, assess_task, open_request, record_not_required
from approvals.services.people import (
    create_approver,
    create_token,
    revoke_token,
)
from approvals.services.retention import (
    clear_sessions,
    purge_deliveries,
    purge_old,
    purge_webhook_bodies,
)
from approvals.services.sign_on import Person, admit_person

__all__ = [
    "SYSTEM",
    "Ballot",
    "Opened",
    "Person",
    "accept_database",
    "admit_person",
    "assess_task",
    "beat_heart",
    "cancel_request",
    "cast_vote",
    "cast_vote_in_batch",
    "clear_sessions",
    "create_approver",
    "create_token",
    "expire_overdue",
    "finish_webhook",
    "open_request",
    "purge_deliveries",
    "purge_old",
    "purge_webhook_bodies",
    "record_event",
    "record_not_required",
    "record_run_event",
    "record_webhook",
    "refuse_vote",
    "retry_delivery",
    "revoke_token",
    "supersede_request",
    "withdraw_request",
]

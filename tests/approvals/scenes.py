"""People, requests and moments that the tests of the verbs start from."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.models import Group, User
from django.db import connection

from approvals import services
from approvals.actors import user_actor
from approvals.audit import SYSTEM
from approvals.clock import clock
from approvals.core.lifecycle import Actor, Choice, Via
from approvals.models import ApprovalRequest, AuditEntry, Delivery

DEPLOY = {"operation": "deploy", "environment": "production", "description": "Ship it"}
MIGRATE = {"operation": "db_migrate", "environment": "staging"}
DOCS = {"operation": "update_docs", "environment": "production"}
# The shipped policies want two release managers for this one.
DELETE = {"operation": "delete_bucket", "environment": "production"}


def person(name: str, *groups: str, via: Via = Via.WEB, **facts: Any) -> Actor:
    """The actor of a new or known account that is in these groups."""
    defaults = {"email": f"{name}@example.com", **facts}
    user, _ = User.objects.get_or_create(username=name, defaults=defaults)
    user.groups.set([Group.objects.get_or_create(name=group)[0] for group in groups])
    return user_actor(user, via)


def manager(name: str, via: Via = Via.WEB) -> Actor:
    """A release manager, whom every shipped policy lets decide."""
    return person(name, "release-managers", via=via)


def opened(task: dict[str, Any] | None = None, **facts: Any) -> UUID:
    """The id of a request that was just opened."""
    given = {"workflow_id": "w-1", "thread_id": "t-1", "agent_name": "cicd", **facts}
    outcome = services.open_request(task=DEPLOY if task is None else task, **given)
    assert outcome.request_id is not None
    return outcome.request_id


def row(request_id: UUID) -> ApprovalRequest:
    """The request as it stands in the table."""
    return ApprovalRequest.objects.get(pk=request_id)


def entries(stream: UUID) -> list[str]:
    """The names of a stream's audit entries, oldest first."""
    found = AuditEntry.objects.filter(stream=stream).order_by("number")
    return [str(name) for name in found.values_list("name", flat=True)]


def delivery(request_id: UUID, channel: str) -> Delivery:
    """What a channel is owed for the request."""
    return Delivery.objects.get(request_id=request_id, channel=channel)


def owed(request_id: UUID) -> dict[str, int]:
    """How many times each channel was raised for the request."""
    rows = Delivery.objects.filter(request_id=request_id)
    return dict(rows.values_list("channel", "wanted"))


def unguarded(statement: str, parameters: Sequence[Any] = ()) -> None:
    """Do what a trigger forbids, as a superuser could."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(statement, list(parameters))
        cursor.execute("SET session_replication_role = origin")


def pass_deadline(*request_ids: UUID) -> None:
    """Let the deadlines have passed a minute ago."""
    unguarded(
        "UPDATE approval_requests SET expires_at = clock_timestamp() - interval '1 minute'"
        " WHERE id = ANY(%s)",
        [list(request_ids)],
    )


def write_policy_of_another_release(*request_ids: UUID) -> None:
    """Let the policies have been frozen by a release that knows a word more than this one."""
    unguarded(
        "UPDATE approval_requests SET policy = policy || '{\"of_tomorrow\": 1}' WHERE id = ANY(%s)",
        [list(request_ids)],
    )


def write_policy_of_this_release(*request_ids: UUID) -> None:
    """Take the unknown word out of the policies again."""
    unguarded(
        "UPDATE approval_requests SET policy = policy - 'of_tomorrow' WHERE id = ANY(%s)",
        [list(request_ids)],
    )


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Do all of it at the same time, each on a connection of its own.

    Returns what each returned, or the exception that it raised.
    """
    outcomes: list[Any] = [None] * len(works)
    start = threading.Barrier(len(works))

    def run(number: int, work: Callable[[], Any]) -> None:
        try:
            connection.ensure_connection()
            start.wait(timeout=30)
            outcomes[number] = work()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            outcomes[number] = error
        finally:
            connection.close()

    threads = [
        threading.Thread(target=run, args=(number, work)) for number, work in enumerate(works)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    return outcomes


def vote(request_id: UUID, name: str = "grace", choice: Choice = Choice.APPROVE) -> None:
    """A release manager's vote."""
    services.cast_vote(request_id, actor=manager(name), choice=choice)


def due(request_id: UUID, channel: str = "linear") -> None:
    """Let the wait of a delivery be over."""
    Delivery.objects.filter(request_id=request_id, channel=channel).update(
        not_before=clock() - timedelta(seconds=1)
    )


def waits(request_id: UUID, channel: str = "linear") -> float:
    """Seconds until the delivery may be tried."""
    return (delivery(request_id, channel).not_before - clock()).total_seconds()


def approve(request_id: UUID, actor: Actor, **facts: Any) -> services.Ballot:
    """Approve it as this person."""
    return services.cast_vote(request_id, actor=actor, choice=Choice.APPROVE, **facts)


def reject(request_id: UUID, actor: Actor, comment: str = "") -> services.Ballot:
    """Reject it as this person."""
    return services.cast_vote(request_id, actor=actor, choice=Choice.REJECT, comment=comment)


def cancel(request_id: UUID) -> None:
    """Withdraw it, as the gateway does once what asked has ended."""
    services.withdraw_request(request_id, actor=SYSTEM, reason="no longer wanted")


def switched_off(name: str, *groups: str) -> Actor:
    """Somebody whose account was switched off while they were at it."""
    return replace(person(name, *groups), active=False)


def expire(request_id: UUID) -> None:
    """Let its deadline pass and the sweep come by."""
    pass_deadline(request_id)
    assert services.expire_overdue() == 1

"""Whether the requests say what the audit log says."""

from collections.abc import Iterator

from django.db.models import Exists, OuterRef, Subquery

from approvals.core.canonical import proposal_digest
from approvals.core.events import EventName, event_of
from approvals.core.lifecycle import Status
from approvals.models import ApprovalRequest, AuditEntry


def disagreements() -> Iterator[str]:
    """A sentence for every request that its audit entries contradict; reads every request.

    Looks at the status, who decided and when, and whether what was frozen is what was opened.
    """
    entries = AuditEntry.objects.filter(stream=OuterRef("pk"))
    last = entries.filter(name__in=[event_of(status) for status in Status]).order_by("-number")
    requests = ApprovalRequest.objects.annotate(
        last_name=Subquery(last.values("name")[:1]),
        last_actor=Subquery(last.values("actor")[:1]),
        last_at=Subquery(last.values("at")[:1]),
        opened_digest=Subquery(entries.filter(name=EventName.OPENED).values("data__digest")[:1]),
    )
    for row in requests.order_by("pk").iterator(chunk_size=500):
        if row.last_name is None:
            # The chain is broken, which is told where chains are checked.
            continue
        if row.last_name != event_of(Status(row.status)):
            yield f"{row.pk}: is {row.status}, but its last entry is {row.last_name}"
        elif row.status != Status.PENDING and row.decided_by != row.last_actor:
            yield f"{row.pk}: names {row.decided_by}, but its last entry names {row.last_actor}"
        elif row.status != Status.PENDING and row.decided_at != row.last_at:
            yield f"{row.pk}: was decided at another time than its last entry says"
        if row.opened_digest is not None and row.opened_digest != row.digest:
            yield f"{row.pk}: its digest is not the one it was opened with"
        elif proposal_digest(row.task, row.agent_name, row.action) != row.digest:
            yield f"{row.pk}: its task or action is not what its digest says"
    orphans = AuditEntry.objects.filter(name=EventName.OPENED).exclude(
        Exists(ApprovalRequest.objects.filter(pk=OuterRef("stream")))
    )
    for stream in orphans.order_by("stream").values_list("stream", flat=True):
        yield f"{stream}: was opened, but the request is gone"

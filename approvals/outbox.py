"""Owed work as rows: owe it, claim it, deliver it, back off. Celery only carries hints."""

import logging
import random
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import Any, TypeVar, cast
from uuid import UUID

from celery import current_app
from django.conf import settings
from django.db import transaction
from django.db.models import (
    Case,
    DateTimeField,
    Exists,
    ExpressionWrapper,
    F,
    IntegerField,
    Q,
    Value,
    When,
)
from django.db.models.functions import Greatest, Now
from django.utils.module_loading import import_string

from approvals import audit, search, tally, trail, unexpected
from approvals.audit import SYSTEM, Fact
from approvals.clock import clock
from approvals.core.events import (
    GITHUB,
    LINEAR,
    WORKFLOW,
    Channel,
    ChannelBusy,
    ChannelError,
    Event,
    EventName,
    Receipt,
    Snapshot,
    concerned_channels,
)
from approvals.core.intake import harmless
from approvals.core.lifecycle import Status
from approvals.core.queues import HINT_SECONDS, Queue
from approvals.core.risk import Risk
from approvals.models import (
    ApprovalRequest,
    AuditEntry,
    ChannelPause,
    ClockTimestamp,
    DatabaseIdentity,
    Delivery,
    Owed,
)

log = logging.getLogger(__name__)

# Renewed before each call outside, of which none may take this long: what a dead worker held is
# free this soon, and two never speak about one request at once.
LEASE_SECONDS = 30
# A thread's lock guards the work itself, so a crashed worker's resume can be taken over soon.
RUN_LEASE_SECONDS = 15
BUSY_SECONDS = 1.0
# With waits of at most 15 minutes this goes on for more than a day: an outage overnight heals.
MAX_ATTEMPTS = 110
MAX_WAIT_SECONDS = 900.0
MAX_PAUSE_SECONDS = 7200.0
RESUMED_AT = "resumed_at"
# What was decided, if only by the deadline: nobody waits to hear that something was withdrawn.
_VERDICTS = {Status.APPROVED, Status.REJECTED, Status.EXPIRED}

Row = TypeVar("Row", bound=Owed)

# The delivery that this worker is at, where its lease is all that keeps others away.
_held: ContextVar[Delivery | None] = ContextVar("held", default=None)


class LeaseLost(ChannelError):
    """Somebody else has taken over what is worked on here: what is left of it is theirs to do."""


@lru_cache(maxsize=1)
def channels() -> Mapping[str, Channel]:
    """The channels that the settings name, by name."""
    found = [cast("Channel", import_string(path)()) for path in settings.HITL_CHANNELS]
    return {channel.name: channel for channel in found}


# Owe


def open_deliveries(request: ApprovalRequest) -> None:
    """Owe every channel that wants the new request its first delivery."""
    snapshot = request.snapshot()
    wanted = [name for name, channel in channels().items() if channel.wants(snapshot)]
    concerned = concerned_channels(EventName.OPENED, wanted)
    Delivery.objects.bulk_create(
        Delivery(
            request=request,
            channel=name,
            wanted=int(name in concerned),
            priority=Risk(request.risk_level).urgency,
        )
        for name in wanted
    )
    _hint_on_commit(concerned)


def owe(request_ids: Sequence[UUID], name: EventName) -> None:
    """Owe the channels that the event concerns a look at each of the requests."""
    _raise(request_ids, concerned_channels(name, list(channels())))


def nudge(request_id: UUID, channel: str) -> None:
    """Owe a channel one more converge, although nothing happened that it does not know."""
    _raise([request_id], [channel])


def _raise(request_ids: Sequence[UUID], names: Sequence[str]) -> None:
    rows = Delivery.objects.filter(request_id__in=request_ids, channel__in=names)
    rows.update(**Owed.raised())
    _hint_on_commit(names)


def _hint_on_commit(names: Sequence[str]) -> None:
    def wake() -> None:
        # One failure is enough: whoever decides must not wait for a broker once for each channel.
        for name in names:
            hint(name)

    transaction.on_commit(wake, robust=True)


def hint(channel: str) -> None:
    """Wake a worker for a channel; raises where the broker is down: the sweep finds the rest."""
    queue = Queue.RUNS if channel == WORKFLOW else Queue.CHANNELS
    hint_task("approvals.tasks.deliver", queue, channel)


def hint_task(name: str, queue: Queue, *arguments: str) -> None:
    """Send a task that looks at the rows; it expires, so that hints do not pile up unheard."""
    current_app.send_task(name, list(arguments), queue=queue, expires=HINT_SECONDS)


# Claim


def claim(model: type[Row], channel: str = "", *, lease_seconds: int = LEASE_SECONDS) -> Row | None:
    """Take one owed row that nobody else holds, most urgent first, or None.

    The row's `lease_token` is the claim; whoever finishes must still hold it. Nothing is owed by a
    database that nobody has accepted: a restored copy does not know what was done since.
    """
    statement, parameters = _claiming(model, channel)
    taken = model._default_manager.raw(statement, [lease_seconds, *parameters])
    return next(iter(taken), None)


@cache
def _claiming(model: type[Owed], channel: str) -> tuple[str, Sequence[Any]]:
    """A claim as one statement, put together once: whoever waits for a decision waits for it."""
    # When the statement began: with a clock that goes on within it no index can be searched.
    now = Now()
    due = model._default_manager.filter(
        Owed.is_owed(),
        DatabaseIdentity.is_accepted(),
        Q(lease_until=None) | Q(lease_until__lt=now),
        not_before__lte=now,
    )
    if channel:
        paused = ChannelPause.objects.filter(channel=channel, until_at__gt=now)
        due = due.filter(~Exists(paused), Q(channel=channel))
    first = due.order_by("priority", "not_before", "pk").values("pk")[:1]
    chosen, parameters = first.query.sql_with_params()
    table = model._meta.db_table
    # By name: a column that a release adds while this one works must not change what comes back.
    columns = ", ".join(str(field.column) for field in model._meta.concrete_fields)
    # Whoever held a lease that has run out died, or raised what nobody expected: that is a failed
    # attempt, too.
    statement = f"""
        UPDATE {table} SET
            lease_token = gen_random_uuid(),
            lease_until = clock_timestamp() + make_interval(secs => %s),
            attempts = attempts + (lease_until IS NOT NULL)::int
        WHERE id = ({chosen} FOR UPDATE SKIP LOCKED)
        RETURNING {columns}
    """  # noqa: S608 - our own table's name
    return statement, parameters


def keep_lease() -> None:
    """Hold on to the delivery that is worked on, for one more call outside; else does nothing.

    Raises LeaseLost where somebody else holds it by now: then the call must not be made.
    """
    row = _held.get()
    if row is None:
        return
    until = ExpressionWrapper(
        ClockTimestamp() + timedelta(seconds=LEASE_SECONDS), output_field=DateTimeField()
    )
    held = Delivery.objects.filter(pk=row.pk, lease_token=row.lease_token)
    if not held.update(lease_until=until):
        raise LeaseLost("This took so long that somebody else has taken it over.")


def settle(row: Owed, **changes: Any) -> bool:
    """Let go of a claimed row with these changes; False where the claim was lost meanwhile."""
    held = type(row)._default_manager.filter(pk=row.pk, lease_token=row.lease_token)
    return held.update(lease_token=None, lease_until=None, **changes) == 1


def backed_off(row: Owed, error: ChannelError, now: datetime) -> dict[str, Any]:
    """The changes for a row whose work failed: wait longer each time, give up at the bound."""
    attempts = row.attempts + 1
    gave_up = error.permanent or attempts >= MAX_ATTEMPTS
    wait = min(MAX_WAIT_SECONDS, 2.0 ** min(attempts, 12)) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
    if error.retry_after is not None:
        wait = max(wait, _bounded(error.retry_after))
    # What was raised while the work went on has not been tried yet: it is due, and not given up.
    same = Q(wanted=row.wanted)
    return {
        "attempts": Case(
            When(same, then=attempts), default=F("attempts"), output_field=IntegerField()
        ),
        "last_error": harmless(str(error))[:2000],
        "gave_up_at": Case(When(same, then=now)) if gave_up else None,
        "not_before": Case(When(same, then=now + timedelta(seconds=wait)), default=F("not_before")),
    }


def _bounded(retry_after: float) -> float:
    """Seconds that a channel may be silent because it said so: outsiders also say nonsense."""
    return min(MAX_PAUSE_SECONDS, retry_after)


# Deliver


def deliver_next(channel_name: str) -> bool:
    """Deliver the most urgent owed row of a channel; False when there is none."""
    lease_seconds = RUN_LEASE_SECONDS if channel_name == WORKFLOW else LEASE_SECONDS
    row = claim(Delivery, channel_name, lease_seconds=lease_seconds)
    if row is None:
        return False
    with trail.step("deliver", request_id=row.request_id, channel=channel_name):
        if row.attempts >= MAX_ATTEMPTS:
            sentence = (
                "Whoever worked on this died every time: find out from the workers' log what ends"
                " them, mostly a lack of memory, then retry the delivery."
            )
            _failed(row, ChannelError(sentence, permanent=True))
        else:
            _attempt(row, channels()[channel_name])
    return True


def _attempt(row: Delivery, channel: Channel) -> None:
    """Converge; whatever that raises, beyond what channels may raise, is a failure of this row."""
    try:
        _converge(row, channel)
    except Exception as error:
        # Wide on purpose, and nothing is hidden by it. What this row raises it raises at every try,
        # and only a failure moves `not_before`: were the task left to end, the row would stay the
        # first to be claimed, and a few of its kind would use up the hints of all others. An outage
        # is no row's fault, so that does end the task.
        if unexpected.is_outage(error):
            raise
        unexpected.log_traceback(log, row, error, "Delivery %s failed unexpectedly", row.pk)
        _failed(row, ChannelError(unexpected.sentence(row, error)))


def _converge(row: Delivery, channel: Channel) -> None:
    # A run is given the verdict alone. The request is read last, so that it is never older than
    # what is told about it.
    since = [] if row.channel == WORKFLOW else _since(row)
    request = ApprovalRequest.objects.get(pk=row.request_id)
    trail.know(workflow_id=request.workflow_id, opened_in=request.traceparent)
    # The lock on its thread keeps others away from a run, however long its action takes.
    holding = _held.set(None if row.channel == WORKFLOW else row)
    try:
        receipt = channel.converge(request.snapshot(row.memory), since)
    except ChannelBusy:
        settle(row, attempts=0, not_before=clock() + timedelta(seconds=BUSY_SECONDS))
    except ChannelError as error:
        _failed(row, error)
    else:
        told = since[-1].number if since else row.told
        _succeeded(row, receipt, told)
    finally:
        _held.reset(holding)


def _since(row: Delivery) -> list[Event]:
    """What has happened that the channel was not told yet."""
    # What another release's events are called concerns no channel of this one.
    entries = AuditEntry.objects.filter(
        stream=row.request_id, number__gt=row.told, name__in=list(EventName)
    )
    return [
        Event(entry.number, EventName(entry.name), entry.actor, entry.via, entry.at, entry.data)
        for entry in entries.order_by("number")
    ]


def _succeeded(row: Delivery, receipt: Receipt, told: int) -> None:
    # The column is unique: empty would be one issue for all.
    issue = receipt.reference if row.channel == LINEAR else ""
    with transaction.atomic():
        # With whichever other request has the identifier; in one order, so that no two workers
        # that lock both wait for each other.
        rows = ApprovalRequest.objects.select_for_update(no_key=True).order_by("pk")
        locked = {
            each.pk: each for each in rows.filter(Q(pk=row.request_id) | Q(linear_issue_id=issue))
        }
        request = locked.pop(row.request_id)
        now = clock()
        # What a run's delivery remembers is what `note_resumed` wrote meanwhile.
        memory = {} if row.channel == WORKFLOW else {"memory": dict(receipt.memory)}
        settled = settle(
            row,
            done=row.wanted,
            told=told,
            attempts=0,
            last_error="",
            gave_up_at=None,
            reference=receipt.reference,
            url=receipt.url,
            delivered_at=now,
            **memory,
        )
        if not settled:
            return
        linked = bool(issue) and request.linear_issue_id != issue
        if linked:
            for former in locked.values():
                _unlink(former)
            request.linear_issue_id = issue
            request.linear_issue_url = receipt.url
            request.save(update_fields=["linear_issue_id", "linear_issue_url"])
            search.add_words(request.pk, issue)
        data = {"channel": row.channel, "reference": receipt.reference}
        audit.append([Fact(request.pk, EventName.DELIVERY_SUCCEEDED, SYSTEM, now, data)])
        trail.tell(log, "Delivery succeeded", delivery_id=row.pk, attempts=row.attempts + 1)
        if linked:
            # The comment on the pull request shows the link to the issue.
            nudge(request.pk, GITHUB)


def _unlink(former: ApprovalRequest) -> None:
    """Let a request have no issue any more: Linear has given its identifier to another's.

    Another workspace, or an emptied one, counts from 1 anew, and so does a team that takes over
    another's key. Whoever names an issue, or follows a link, must get the one that they see.
    """
    issue = former.linear_issue_id
    former.linear_issue_id = former.linear_issue_url = None
    former.save(update_fields=["linear_issue_id", "linear_issue_url"])
    trail.tell(
        *(log, "Linear has given an identifier again"),
        error=f"{issue} was the issue of the request {former.pk}, and is now another's. Does"
        " LINEAR_API_KEY belong to another workspace than before, or was it emptied?",
        former_request_id=str(former.pk),
    )
    if former.status == Status.PENDING:
        # Is there still an issue on which people can decide it? Its delivery will tell.
        nudge(former.pk, LINEAR)


def _failed(row: Delivery, error: ChannelError) -> None:
    with transaction.atomic():
        request = ApprovalRequest.objects.select_for_update(no_key=True).get(pk=row.request_id)
        trail.know(workflow_id=request.workflow_id, opened_in=request.traceparent)
        now = clock()
        changes = backed_off(row, error, now)
        if error.memory is not None:
            changes["memory"] = dict(error.memory)
        if error.retry_after is not None:
            pause(row.channel, now + timedelta(seconds=_bounded(error.retry_after)))
        if not settle(row, **changes):
            return
        trail.tell(
            log,
            "Delivery failed",
            error=harmless(str(error)),
            delivery_id=row.pk,
            attempts=row.attempts + 1,
        )
        data = {"channel": row.channel, "error": changes["last_error"]}
        if Delivery.objects.filter(pk=row.pk, gave_up_at__isnull=False).exists():
            audit.append([Fact(row.request_id, EventName.DELIVERY_GAVE_UP, SYSTEM, now, data)])
        elif row.attempts == 0:
            # The first failure is the fact; the repeats are counted on the row.
            audit.append([Fact(row.request_id, EventName.DELIVERY_FAILED, SYSTEM, now, data)])


def pause(channel: str, until_at: datetime) -> None:
    """Tell a channel nothing until then; never shortens a pause."""
    ChannelPause.objects.update_or_create(
        channel=channel,
        defaults={"until_at": Greatest("until_at", Value(until_at))},
        create_defaults={"until_at": until_at},
    )


def note_resumed(request: Snapshot) -> None:
    """Observe, once for each decided request, how long its run waited until it went on with that.

    Call it in the transaction that notes that the run goes on. An action may take long and a crash
    may follow, so the delivery, which is done only after both, remembers that it was counted.
    """
    if request.status not in _VERDICTS or request.decided_at is None:
        return
    now = clock()
    rows = Delivery.objects.filter(request_id=request.id, channel=WORKFLOW)
    first = rows.exclude(memory__has_key=RESUMED_AT)
    if first.update(memory={RESUMED_AT: now.isoformat()}):
        waited = now - request.decided_at
        tally.observe(tally.DECISION_TO_RESUME, request.status, seconds=waited.total_seconds())


def wake_thread(thread_id: str) -> None:
    """Make the owed resumes of a thread due at once: what kept it busy has ended."""
    busy = Delivery.objects.filter(
        Owed.is_owed(), channel=WORKFLOW, request__thread_id=thread_id, attempts=0
    )
    if busy.update(not_before=ClockTimestamp()):
        _hint_on_commit([WORKFLOW])


def nudge_thread(thread_id: str) -> None:
    """Owe the run of a thread every verdict once more; what it already used is passed over."""
    rows = Delivery.objects.filter(channel=WORKFLOW, request__thread_id=thread_id, wanted__gt=0)
    _raise(list(rows.values_list("request_id", flat=True)), [WORKFLOW])


def given_up_threads() -> list[str]:
    """The threads with a resume that was given up."""
    rows = Delivery.objects.filter(channel=WORKFLOW, gave_up_at__isnull=False, done__lt=F("wanted"))
    return list(rows.values_list("request__thread_id", flat=True).distinct())

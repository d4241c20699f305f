"""POST /resume: verify what Linear says, record it, and cast the vote in it with one call."""

import hashlib
import hmac
import logging
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from approvals import actors, outbox, services, tally, trail
from approvals.clock import clock
from approvals.core.events import LINEAR, ChannelError, Hearing
from approvals.core.lifecycle import Status, Via
from approvals.errors import Refusal
from approvals.selectors.request import find_for_linear, get_snapshot, heard_of_later
from integrations.linear.config import linear_config
from integrations.linear.directory import directory
from integrations.linear.hearing import first_time
from integrations.linear.payload import Message, read_message
from integrations.linear.words import Word

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 5 * 1024 * 1024
FRESH_SECONDS = 60.0
# Linear waits five seconds for the answer.
IDENTITY_TIMEOUT_SECONDS = 2.0

_OUTCOMES = {
    Status.APPROVED: Hearing.RESUMED,
    Status.REJECTED: Hearing.REJECTED,
    Status.PENDING: Hearing.RECORDED,
}


@dataclass(frozen=True)
class Answer:
    """What became of a webhook; also the body of the response."""

    status: Hearing
    request_id: UUID | None = None
    workflow_id: str | None = None
    reason: str = ""

    def to_json(self) -> dict[str, str | None]:
        """The response's body; a reason only where there is one."""
        known = {
            "status": self.status,
            "request_id": None if self.request_id is None else str(self.request_id),
            "workflow_id": self.workflow_id,
        }
        return {**known, "reason": self.reason} if self.reason else known


@csrf_exempt
@require_POST
def resume(request: HttpRequest) -> JsonResponse:
    """Linear's webhook: 200 for whatever is signed, 401 for what is not, 413 over 5 MB."""
    body = _read_body(request)
    if body is None:
        return JsonResponse({"detail": "The body is larger than 5 MB."}, status=413)
    secret = _signed_with(body, request.headers.get("Linear-Signature", ""))
    if secret is None:
        return JsonResponse({"detail": "The signature is missing or wrong."}, status=401)
    delivery_id = request.headers.get("Linear-Delivery", "")
    message = read_message(body, linear_config())
    # Asked before the transaction: no lock is held while Linear answers.
    gateway = _Identity.read() if message.word and message.person_id else _Identity()
    with trail.step("hear_webhook", channel=LINEAR), transaction.atomic():
        answer = _counted(_record(delivery_id, body, message, gateway), secret)
    return JsonResponse(answer.to_json())


class _Secret(StrEnum):
    """Which of the configured secrets made a signature; there are two while one is rotated."""

    CURRENT = "current"
    PREVIOUS = "previous"


def _counted(answer: Answer, secret: _Secret) -> Answer:
    """The answer, counted; what is not signed is not, since anybody could then write here."""
    tally.count(tally.INBOUND_WEBHOOKS, LINEAR, answer.status)
    if secret is _Secret.PREVIOUS:
        tally.count(tally.PREVIOUS_SECRET, LINEAR)
    trail.know(request_id=answer.request_id, workflow_id=answer.workflow_id)
    trail.tell(log, "Webhook received", outcome=answer.status, secret=secret)
    return answer


@dataclass(frozen=True)
class _Identity:
    """Whom the gateway acts as in Linear; not `known` where Linear could not be asked.

    Without an API key the gateway never acts there, so nobody is the gateway.
    """

    known: bool = True
    id: str = ""

    @classmethod
    def read(cls) -> "_Identity":
        """The identity, which each process asks Linear for once."""
        if not settings.LINEAR_API_KEY:
            return cls()
        try:
            return cls(id=directory().viewer_id(timeout_seconds=IDENTITY_TIMEOUT_SECONDS))
        except ChannelError:
            return cls(known=False)


def _read_body(request: HttpRequest) -> bytes | None:
    """The raw body, or None where it is too large; never reads more than one byte too much."""
    stated = request.headers.get("Content-Length", "")
    if stated.isdecimal() and int(stated) > MAX_BODY_BYTES:
        return None
    body = request.read(MAX_BODY_BYTES + 1)
    return None if len(body) > MAX_BODY_BYTES else body


def _signed_with(body: bytes, signature: str) -> _Secret | None:
    """Which configured secret made this signature, if one did; never without a secret.

    Each is looked at, whichever fits: how long that takes tells nothing.
    """
    given = signature.encode("utf-8", "replace")
    fits = {
        name: hmac.compare_digest(
            given, hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode()
        )
        for name, secret in zip(_Secret, settings.LINEAR_WEBHOOK_SECRETS, strict=False)
        if secret
    }
    return next((name for name in fits if fits[name]), None)


def _record(delivery_id: str, body: bytes, message: Message, gateway: _Identity) -> Answer:
    """Apply a message unless the same one was seen before, and note what became of it."""
    webhook_id = services.record_webhook(source=LINEAR, delivery_id=delivery_id, body=body)
    request_id = _find(message.references)
    if webhook_id is None:
        return _answer(Hearing.DUPLICATE, request_id, "this webhook was applied before")
    answer = _apply(message, request_id, gateway)
    services.finish_webhook(
        webhook_id,
        outcome=answer.status,
        reason=answer.reason,
        request_id=answer.request_id,
        happened_at=message.changed_at,
    )
    return answer


def _find(references: tuple[str, ...]) -> UUID | None:
    """The request of the issue that a message is about.

    An issue's UUID, which Linear always tells, is its request's own id. With one that is nobody's
    the identifier is not asked: another workspace, or an emptied one, gives it again, to an issue
    on which nobody was asked for this approval.
    """
    ids = [reference for reference in references if _is_uuid(reference)]
    return next(filter(None, map(find_for_linear, ids or references)), None)


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _apply(message: Message, request_id: UUID | None, gateway: _Identity) -> Answer:
    if request_id is None:
        return Answer(Hearing.IGNORED, reason=message.silence or "no request belongs to this issue")
    word = message.word
    if word is None:
        return _answer(Hearing.IGNORED, request_id, message.silence)
    if not message.person_id:
        return _answer(Hearing.IGNORED, request_id, "only a person of the workspace can decide")
    if not gateway.known:
        return _defer(request_id, "whose API key the gateway holds could not be read")
    if message.person_id == gateway.id:
        return _answer(Hearing.IGNORED, request_id, "this is the gateway's own doing")
    if message.reacted_to is not None and message.reacted_to != (gateway.id or None):
        return _answer(
            Hearing.IGNORED, request_id, "the reaction is not on the gateway's own comment"
        )
    if not _fresh(message.sent_at):
        return _defer(request_id, "the webhook is stale; the issue itself is read instead")
    if message.changed_at and heard_of_later(request_id, message.changed_at):
        return _defer(request_id, "a later change of the issue was told before this one")
    return _hear(message, word, request_id)


def _hear(message: Message, word: Word, request_id: UUID) -> Answer:
    """Cast the vote, unless this comment or reaction was heard before, however it was stamped."""
    if word.fault:
        # Not heard yet: the channel hears it on the issue, and answers there.
        outbox.nudge(request_id, LINEAR)
        return _answer(Hearing.REFUSED, request_id, word.fault)
    if not word.key:
        return _vote(message, word, request_id)
    heard_id = first_time(word.key)
    if heard_id is None:
        return _answer(Hearing.DUPLICATE, request_id, "this was counted before")
    answer = _vote(message, word, request_id)
    services.finish_webhook(
        heard_id, outcome=answer.status, reason=answer.reason, request_id=request_id
    )
    return answer


def _vote(message: Message, word: Word, request_id: UUID) -> Answer:
    actor = actors.linear_actor(message.person_id, message.person_name, word.via)
    try:
        ballot = services.cast_vote(
            request_id, actor=actor, choice=word.choice, comment=word.comment
        )
    except Refusal as refusal:
        _take_back(word, request_id)
        return _answer(Hearing.REFUSED, request_id, str(refusal))
    reason = ""
    if ballot.status is Status.PENDING:
        _take_back(word, request_id)
        reason = f"{ballot.approvals} of {ballot.quorum} approvals"
    return Answer(_OUTCOMES[ballot.status], request_id, ballot.workflow_id, reason)


def _take_back(word: Word, request_id: UUID) -> None:
    """Owe the issue a visit: a move that did not decide must not look like a decision."""
    if word.via is Via.LINEAR_MOVE:
        outbox.nudge(request_id, LINEAR)


def _defer(request_id: UUID, reason: str) -> Answer:
    """Act on nothing the body says; the channel reads what the issue says now."""
    outbox.nudge(request_id, LINEAR)
    return _answer(Hearing.DEFERRED, request_id, reason)


def _fresh(sent_at: float | None) -> bool:
    # Written so that a NaN is not fresh.
    return sent_at is not None and abs(clock().timestamp() - sent_at) <= FRESH_SECONDS


def _answer(status: Hearing, request_id: UUID | None, reason: str) -> Answer:
    workflow_id = None if request_id is None else get_snapshot(request_id).workflow_id
    return Answer(status, request_id, workflow_id, reason)

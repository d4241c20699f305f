"""Why a verb refuses: typed, with a sentence for people and the HTTP status that says the same."""

from datetime import datetime
from typing import ClassVar


class Refusal(Exception):
    """A verb did not do what was asked; `str()` is a sentence for the person who asked.

    `http_status` is what the API and the pages answer with: 409, the state of things is against
    it, where a class says nothing else.
    """

    http_status: ClassVar[int] = 409


class RequestNotFound(Refusal):
    """There is no such request."""

    http_status = 404


class DeliveryNotFound(Refusal):
    """There is no such delivery."""

    http_status = 404


class InvalidInput(Refusal):
    """A value does not fit; `field` names it."""

    http_status = 422

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


class NotAllowed(Refusal):
    """This actor may not do this."""

    http_status = 403


class IdempotencyConflict(Refusal):
    """The same idempotency key came with another body."""


class AlreadyDecided(Refusal):
    """The request is final; says which status, by whom and when."""

    def __init__(self, sentence: str, *, status: str, decided_by: str, decided_at: datetime):
        super().__init__(sentence)
        self.status = status
        self.decided_by = decided_by
        self.decided_at = decided_at


class AlreadyEnded(Refusal):
    """The run has ended."""

"""Why a verb refuses: typed, with a sentence for people; mapped once to HTTP in the API."""

from datetime import datetime


class Refusal(Exception):
    """A verb did not do what was asked; `str()` is a sentence for the person who asked."""

    code = "refused"


class RequestNotFound(Refusal):
    """There is no such request."""

    code = "not_found"


class InvalidInput(Refusal):
    """A value does not fit; `field` names it."""

    code = "invalid"

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


class NotAllowed(Refusal):
    """This actor may not do this."""

    code = "not_allowed"


class IdempotencyConflict(Refusal):
    """The same idempotency key came with another body."""

    code = "idempotency_conflict"


class AlreadyDecided(Refusal):
    """The request is final; says which status, by whom and when."""

    code = "already_decided"

    def __init__(self, sentence: str, *, status: str, decided_by: str, decided_at: datetime):
        super().__init__(sentence)
        self.status = status
        self.decided_by = decided_by
        self.decided_at = decided_at


class AlreadyEnded(Refusal):
    """The run has ended."""

    code = "already_ended"

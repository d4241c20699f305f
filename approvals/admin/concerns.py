"""What the first page of the admin counts: rows that may need an operator."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse

MOST_COUNTED = 100


class Urgency(IntEnum):
    """What is looked at first: what has stopped, before what goes on by itself."""

    STOPPED = 0
    UNTOLD = 1
    SOON = 2


@dataclass(frozen=True, order=True)
class Concern:
    """Rows of one kind: how many, what they are, and the list that shows them."""

    urgency: Urgency
    count: int
    more: bool
    words: str
    url: str


def concern(
    urgency: Urgency, model: type[Any], rows: QuerySet[Any], words: tuple[str, str], filtered: str
) -> Concern:
    """The rows counted no further than a bound.

    `words` are for one and for many; `filtered` is the query of the list that shows them.
    """
    count = rows.order_by().values("pk")[: MOST_COUNTED + 1].count()
    address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return Concern(
        urgency,
        min(count, MOST_COUNTED),
        count > MOST_COUNTED,
        words[0] if count == 1 else words[1],
        f"{address}?{filtered}",
    )

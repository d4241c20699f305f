"""Filters whose choices are known, or read from a bounded number of rows: no table is scanned."""

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from approvals.admin.access import RowAdmin
from approvals.core.risk import Risk
from approvals.wording import plain

NEWEST = 500


class OneOf(admin.SimpleListFilter):
    """Rows by one of several conditions."""

    @staticmethod
    def conditions() -> dict[str, Q]:
        """What each choice means."""
        raise NotImplementedError

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        """The rows that fit the chosen condition; all of them where none was chosen."""
        return queryset.filter(self.conditions().get(self.value() or "", Q()))


def known(field: str, title: str, values: Callable[[], Iterable[str]]) -> type[OneOf]:
    """A filter by a field whose values the code knows."""

    class Known(OneOf):
        parameter_name = field

        def lookups(self, request: HttpRequest, model_admin: RowAdmin) -> list[tuple[str, str]]:  # noqa: ARG002
            return [(value, value.replace("_", " ")) for value in values()]

        @staticmethod
        def conditions() -> dict[str, Q]:
            return {value: Q(**{field: value}) for value in values()}

    Known.title = title
    return Known


OfRisk = known("request__risk_level", "risk", lambda: Risk)


def newest(field: str, title: str) -> type[admin.SimpleListFilter]:
    """A filter by a field of text from outside; the newest rows say what to choose from."""

    class Newest(admin.SimpleListFilter):
        parameter_name = field

        def lookups(self, request: HttpRequest, model_admin: RowAdmin) -> list[tuple[str, str]]:  # noqa: ARG002
            rows = model_admin.model._default_manager.order_by(*model_admin.ordering or ("-pk",))
            seen = set(rows.values_list(field, flat=True)[:NEWEST]) - {""}
            return [(value, plain(value)) for value in sorted(seen)]

        def has_output(self) -> bool:
            return len(self.lookup_choices) > 1 or self.value() is not None

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
            value = self.value()
            return queryset if value is None else queryset.filter(**{field: value})

    Newest.title = title
    return Newest

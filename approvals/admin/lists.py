"""Lists and pages of rows that nobody edits: what they cost is bounded, however long the table."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import SuspiciousOperation, ValidationError
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from approvals import patience
from approvals.admin.access import RowAdmin, RowInline, actor_of, is_staff
from approvals.admin.concerns import Concern
from approvals.admin.history import History
from approvals.core import intake
from approvals.core.lifecycle import Actor
from approvals.models import ClockTimestamp

if TYPE_CHECKING:
    RowPaginator = Paginator[Any]
else:
    RowPaginator = Paginator

MOST_COUNTED = 2_000
LONGEST_TERM = 500


@dataclass(frozen=True)
class Offer:
    """An action that whoever looks may take on this row."""

    action: str
    label: str


def chosen_ids(model_admin: RowAdmin, request: HttpRequest) -> list[Any]:
    """The ids of the rows that were ticked; 400 for one that cannot be an id."""
    texts = request.POST.getlist(ACTION_CHECKBOX_NAME)
    try:
        return [model_admin.opts.pk.to_python(text) for text in texts]
    except ValidationError as error:
        raise SuspiciousOperation("A chosen row cannot have such an id.") from error


class BoundedPaginator(RowPaginator):
    """Pages of a table that is not counted to its end: `more` says that there are others."""

    @cached_property
    def _counted(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by().values("pk")[: MOST_COUNTED + 1].count())

    @cached_property
    def count(self) -> int:
        """The rows that can be paged through."""
        return min(self._counted, MOST_COUNTED)

    @property
    def more(self) -> bool:
        """Whether there are rows beyond those."""
        return self._counted > MOST_COUNTED


class FilteredList(ChangeList):
    """A list that is filtered by what its filters offer, and by nothing else in its address.

    Django takes any field of the table, and with `startswith` a masked value is read a letter at a
    time.
    """

    def get_filters(self, request: HttpRequest) -> Any:
        """The filters; 400 for a parameter of none of them, and back from a value of no text."""
        if any("\x00" in value for values in self.filter_params.values() for value in values):
            raise IncorrectLookupParameters("A filter's value holds a NUL.")
        found = super().get_filters(request)
        if left := found[2]:
            raise DisallowedModelAdminLookup(f"No filter of this list takes {', '.join(left)}.")
        return found


class _List(FilteredList):
    """A list without the columns that only a row's own page shows, which may be long."""

    def get_queryset(self, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(*args, **kwargs)
        return rows.defer(*self.model_admin.list_deferred)  # type: ignore[attr-defined]


class _ReadOnly:
    """Every member of staff may look; nobody may add, edit or delete."""

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        return is_staff(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_staff(request)

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        return False


class ReadOnlyAdmin(_ReadOnly, RowAdmin):
    """Rows to be read, with the offers of their actions and what happened beside them."""

    change_form_template = "admin/record.html"
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    # Show all would be one long page; sorted by a column without an index, one long wait.
    list_max_show_all = 0
    sortable_by: ClassVar[tuple[str, ...]] = ()
    list_deferred: ClassVar[Sequence[str]] = ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        """The list that leaves out long columns."""
        return _List

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Rows with the database's clock, which says how old they are."""
        rows: QuerySet[Any] = super().get_queryset(request).annotate(now=ClockTimestamp())
        return rows

    def meant(self, term: str) -> Q:  # noqa: ARG002
        """What to look for when somebody types this; identifiers are compared whole."""
        return Q(pk__in=[])

    def get_search_results(
        self,
        request: HttpRequest,  # noqa: ARG002
        queryset: QuerySet[Any],
        search_term: str,
    ) -> tuple[QuerySet[Any], bool]:
        """The rows that are meant, found by an index or among a bounded number."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if intake.text_fault(term, LONGEST_TERM) is not None:
            return queryset.none(), False
        return queryset.filter(self.meant(term)), False

    def may_take(self, request: HttpRequest, action: str) -> bool:  # noqa: ARG002
        """Whether whoever is at work may take the action on some row; the verbs judge again."""
        return True

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """The actions that may be taken; a press that comes all the same is refused in words."""
        actions = super().get_actions(request)
        if request.method == "POST":
            return actions
        return {name: how for name, how in actions.items() if self.may_take(request, name)}

    def offers(self, row: Any, actor: Actor) -> Sequence[Offer]:  # noqa: ARG002
        """The actions for one row that its page offers."""
        return ()

    def history(self, row: Any) -> History | None:  # noqa: ARG002
        """What the audit log says of the row."""
        return None

    def concerns(self) -> Sequence[Concern]:
        """What the first page counts."""
        return ()

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, unless it acts on rows that were made up; one that takes too long is given up.

        Filters and sorting can be put together in ways that no index serves.
        """
        chosen_ids(self, request)
        title = str(self.opts.verbose_name_plural).capitalize()
        extra_context = {"title": title, **(extra_context or {})}
        if request.method == "POST":
            return super().changelist_view(request, extra_context)
        try:
            with patience.patiently():
                response = super().changelist_view(request, extra_context)
                if isinstance(response, TemplateResponse):
                    response.render()
                return response
        except patience.TookTooLong:
            return self._given_up(request)

    def _given_up(self, request: HttpRequest) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "This list takes too long",
            "opts": self.opts,
            "seconds": patience.PATIENCE_MS // 1_000,
        }
        return TemplateResponse(request, "admin/too_slow.html", context, status=503)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The row's page, with what may be done to it and what happened to it."""
        row = self.get_object(request, object_id) if request.method == "GET" else None
        context: dict[str, Any] = {}
        if row is not None:
            offers = self.offers(row, actor_of(request))
            context = {"offers": offers, "history": self.history(row), "now": row.now}
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))


class ReadOnlyInline(_ReadOnly, RowInline):
    """Rows to be read on the page of the row they belong to."""

    template = "admin/rows.html"
    extra = 0
    can_delete = False

"""Who is at work in the admin, and rows that nobody edits."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import SuspiciousOperation, ValidationError
from django.http import HttpRequest, HttpResponse

from approvals import actors
from approvals.core.lifecycle import Actor, Via
from approvals.core.roles import Ability
from approvals.wording import plain

if TYPE_CHECKING:
    RowAdmin = admin.ModelAdmin[Any]
    RowInline = admin.TabularInline[Any, Any]
else:
    RowAdmin = admin.ModelAdmin
    RowInline = admin.TabularInline

_KEPT = "_admin_actor"


def actor_of(request: HttpRequest) -> Actor:
    """The actor behind the session, read once a request: the admin asks for rights many times."""
    kept = vars(request)
    if _KEPT not in kept:
        kept[_KEPT] = actors.user_actor(request.user, Via.ADMIN)
    return cast("Actor", kept[_KEPT])


def able(request: HttpRequest, ability: Ability) -> bool:
    """Whether the roles of whoever is at work have the ability; the verbs judge again."""
    # The login page, too, asks what whoever looks at it may see.
    return request.user.is_authenticated and actors.able(actor_of(request), ability)


def is_staff(request: HttpRequest) -> bool:
    """Whether this account may open the admin at all."""
    return bool(request.user.is_active and request.user.is_staff)


def shown(path: str, description: str = "") -> Any:
    """A column for text from outside: nothing invisible in it can turn or hide what is shown.

    It is a function of a row; Django's stubs take only names for the fields of a page.
    """

    @admin.display(
        description=description or path.replace("__", " ").replace("_", " "), ordering=path
    )
    def column(row: Any) -> str:
        value = row
        for name in path.split("__"):
            value = None if value is None else getattr(value, name)
        return "-" if value is None or value == "" else plain(value, keep="\n")

    return column


class ShownValues(admin.AllValuesFieldListFilter):
    """Every value of a column of text from outside, with nothing invisible in it."""

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """The values to choose from."""
        for choice in super().choices(changelist):
            yield {**choice, "display": plain(choice["display"])}


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


def chosen_ids(model_admin: RowAdmin, request: HttpRequest) -> list[Any]:
    """The ids of the rows that were ticked; 400 for one that cannot be an id."""
    texts = request.POST.getlist(ACTION_CHECKBOX_NAME)
    try:
        return [model_admin.opts.pk.to_python(text) for text in texts]
    except ValidationError as error:
        raise SuspiciousOperation("A chosen row cannot have such an id.") from error


class ReadOnlyAdmin(_ReadOnly, RowAdmin):
    """Rows to be read; a long table is never counted just to say how long it is."""

    show_full_result_count = False
    list_per_page = 50

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, unless it is asked to act on rows that were made up."""
        chosen_ids(self, request)
        return super().changelist_view(request, extra_context)


class ReadOnlyInline(_ReadOnly, RowInline):
    """Rows to be read on the page of the row they belong to."""

    extra = 0
    can_delete = False

"""Who is at work in the admin, and rows that nobody edits."""

from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.http import HttpRequest

from approvals.actors import user_actor
from approvals.core.lifecycle import Actor, Via
from approvals.core.roles import Ability, may, roles_of
from approvals.policy import policy_groups

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
        kept[_KEPT] = user_actor(request.user, Via.ADMIN)
    return cast("Actor", kept[_KEPT])


def able(request: HttpRequest, ability: Ability) -> bool:
    """Whether the roles of whoever is at work have the ability; the verbs judge again."""
    return may(roles_of(actor_of(request), policy_groups()), ability)


def is_staff(request: HttpRequest) -> bool:
    """Whether this account may open the admin at all."""
    return bool(request.user.is_active and request.user.is_staff)


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
    """Rows to be read; a long table is never counted just to say how long it is."""

    show_full_result_count = False
    list_per_page = 50


class ReadOnlyInline(_ReadOnly, RowInline):
    """Rows to be read on the page of the row they belong to."""

    extra = 0
    can_delete = False

"""Who is at work in the admin, and what they may do there."""

from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.http import HttpRequest

from approvals import actors
from approvals.core.lifecycle import Actor, Via
from approvals.core.roles import Ability

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

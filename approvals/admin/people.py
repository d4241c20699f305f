"""People, their groups and their Linear users; operators look after them."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest

from approvals.admin.access import RowAdmin, able
from approvals.core.roles import Ability
from approvals.models import ApproverProfile

if TYPE_CHECKING:
    ProfileRows = admin.StackedInline[Any, Any]
    AccountAdmin = UserAdmin[User]
else:
    ProfileRows = admin.StackedInline
    AccountAdmin = UserAdmin


class _ForOperators:
    """Operators may look, add and edit; whoever left is switched off, not deleted."""

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        return able(request, Ability.MANAGE_PEOPLE)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return able(request, Ability.MANAGE_PEOPLE)

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        return able(request, Ability.MANAGE_PEOPLE)

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        return able(request, Ability.MANAGE_PEOPLE)

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        return False


class ApproverProfileInline(_ForOperators, ProfileRows):
    """The person's Linear user, beside the account."""

    model = ApproverProfile
    can_delete = False
    verbose_name_plural = "Linear"


admin.site.unregister(User)


@admin.register(User)
class PersonAdmin(_ForOperators, AccountAdmin):
    """Django's own page for accounts; only a superuser touches superusers or hands out rights."""

    inlines = (ApproverProfileInline,)
    list_display = ("username", "email", "is_active", "is_staff", "is_superuser", "last_login")

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Whether this account may be edited by whoever is at work."""
        if isinstance(obj, User) and obj.is_superuser and not request.user.is_superuser:
            return False
        return super().has_change_permission(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Rights of Django's own are a superuser's to give."""
        fields = [str(field) for field in super().get_readonly_fields(request, obj)]
        if request.user.is_superuser:
            return fields
        return [*fields, "is_superuser", "user_permissions"]


@admin.register(ApproverProfile)
class ApproverProfileAdmin(_ForOperators, RowAdmin):
    """Who an account is in Linear."""

    list_display = ("user", "linear_user_id")
    list_select_related = ("user",)
    search_fields = ("user__username", "user__email", "=linear_user_id")
    autocomplete_fields = ("user",)
    ordering = ("user__username",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApproverProfile]:
        """Profiles with their accounts."""
        rows: QuerySet[ApproverProfile] = super().get_queryset(request).select_related("user")
        return rows

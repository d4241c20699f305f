"""People, their groups and their Linear users: operators look after them, superusers say more.

Who may decide, and how one logs in, is a superuser's word; `approvals.core.roles` says why.
"""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q, QuerySet
from django.forms import CheckboxSelectMultiple, ModelMultipleChoiceField
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from approvals.admin import cells
from approvals.admin.access import RowAdmin, able, actor_of
from approvals.admin.account_forms import AccountChangeForm, NewAccountForm
from approvals.admin.cells import shown
from approvals.admin.filters import OneOf
from approvals.admin.history import history_of
from approvals.admin.lists import FilteredList
from approvals.core.roles import Ability
from approvals.models import ApproverProfile
from approvals.services.people import account_stream, record_account

_EMAIL, _FULL_NAME = shown("user__email", "email"), shown("user__get_full_name", "name")

if TYPE_CHECKING:
    ProfileRows = admin.StackedInline[Any, Any]
    AccountAdmin = UserAdmin[User]
else:
    ProfileRows = admin.StackedInline
    AccountAdmin = UserAdmin

# What an operator may edit of an account that holds no rights. Not the email address: whoever
# reads its mail can have the password reset.
_OPERATORS_FIELDS = {"username", "first_name", "last_name", "is_active"}


def _holds_rights(account: User) -> bool:
    """Whether a superuser or the command line trusted this account with anything.

    Any group counts, not only those that policies name today: requests keep the groups they
    opened with, and one of a group's members may become an approver by a change of the policies.
    """
    return (
        account.is_superuser
        or account.is_staff
        or account.groups.exists()
        or ApproverProfile.objects.filter(user=account).exclude(linear_user_id="").exists()
    )


def _changed(message: Any) -> list[str]:
    """The names of what a form changed, out of what Django's own log is told."""
    names: list[str] = []
    for part in message:
        for detail in part.values():
            names += detail.get("fields") or filter(None, [detail.get("name")])
    return names


class _ForOperators:
    """Operators may look; nobody deletes: whoever left is switched off."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[FilteredList]:  # noqa: ARG002
        return FilteredList

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        return able(request, Ability.MANAGE_PEOPLE)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return able(request, Ability.MANAGE_PEOPLE)

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        return False


class _BySuperusers(_ForOperators):
    """Only superusers add and edit."""

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        return bool(request.user.is_active and request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return self.has_add_permission(request, obj)


class _Recorded(RowAdmin):
    """Whatever is saved leaves an entry in the account's stream, in the same transaction.

    Its page shows that stream.
    """

    change_form_template = "admin/record.html"

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The form, with what the audit log says of the account."""
        row = kwargs.get("obj")
        if row is not None:
            context["history"] = history_of(account_stream(_account_id(row)), "What happened")
        return super().render_change_form(request, context, *args, **kwargs)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Log an addition twice: for Django's history, and in the audit log."""
        self._record(request, obj, message)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Log a change twice: for Django's history, and in the audit log."""
        self._record(request, obj, message)
        return super().log_change(request, obj, message)

    def _record(self, request: HttpRequest, obj: User | ApproverProfile, message: Any) -> None:
        record_account(_account_id(obj), actor=actor_of(request), changed=_changed(message))


def _account_id(row: User | ApproverProfile) -> int:
    return row.pk if isinstance(row, User) else row.user_id


class ApproverProfileInline(_BySuperusers, ProfileRows):
    """The person's Linear user, beside the account."""

    model = ApproverProfile
    can_delete = False
    verbose_name_plural = "Linear"


admin.site.unregister([User, Group])


@admin.register(User)
class PersonAdmin(_ForOperators, _Recorded, AccountAdmin):
    """Accounts: operators make them, rename those without rights, and switch any off.

    Rights, passwords, email addresses and Linear users are a superuser's to give, and so is
    everything about an account that holds rights. Django's own permissions rule nothing here.
    """

    inlines = (ApproverProfileInline,)
    list_display = ("username", "email", "is_active", "is_staff", "is_superuser", "last_login")
    form = AccountChangeForm
    add_form = NewAccountForm
    add_form_template = None
    add_fieldsets = (
        (
            None,
            {
                "fields": ("username",),
                "description": "The account has neither password nor rights until a superuser"
                " gives it some.",
            },
        ),
    )
    fieldsets = (
        (None, {"fields": ("username", "password", "first_name", "last_name", "email")}),
        ("Rights", {"fields": ("is_active", "is_staff", "is_superuser", "groups")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Operators make accounts."""
        return able(request, Ability.MANAGE_PEOPLE)

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Whether this account may be edited by whoever is at work."""
        if isinstance(obj, User) and obj.is_superuser and not request.user.is_superuser:
            return False
        return able(request, Ability.MANAGE_PEOPLE)

    def formfield_for_manytomany(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> "ModelMultipleChoiceField[Any] | None":
        """Boxes to tick: there are few groups, and a screen reader can read them."""
        kwargs.setdefault("widget", CheckboxSelectMultiple)
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """What the page shows; nothing of a password to those who cannot set it."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or request.user.is_superuser:
            return fieldsets
        return [
            (title, {**how, "fields": [name for name in how["fields"] if name != "password"]})
            for title, how in fieldsets
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """What an operator may only read: of an account with rights, all but switching it off."""
        if obj is None or request.user.is_superuser:
            return list(self.readonly_fields)
        editable = _OPERATORS_FIELDS
        if _holds_rights(obj):
            editable = {"is_active"} if obj.is_active else set()
        shown = [name for _, how in self.get_fieldsets(request, obj) for name in how["fields"]]
        return [name for name in shown if name not in editable]

    def user_change_password(
        self,
        request: HttpRequest,
        id: str,  # noqa: A002 - the name in Django's address
        form_url: str = "",
    ) -> HttpResponse:
        """Set somebody's password; whoever knew one could later decide as its owner."""
        if not request.user.is_superuser:
            raise PermissionDenied
        with transaction.atomic():
            return super().user_change_password(request, id, form_url)


@admin.register(Group)
class GroupAdmin(_BySuperusers, RowAdmin):
    """Groups, whose names are what policies know them by: a new one lets nobody decide.

    To rename or delete one would change who decides without a word in the members' streams.
    """

    fields = ("name",)
    search_fields = ("name",)
    ordering = ("name",)

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return self.has_add_permission(request, obj)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        return False


class LinkedFilter(OneOf):
    """Profiles with and without a Linear user."""

    title = "Linear"
    parameter_name = "linear"

    def lookups(self, request: HttpRequest, model_admin: RowAdmin) -> list[tuple[str, str]]:  # noqa: ARG002
        """Both in words."""
        return [("linked", "linked"), ("missing", "not linked")]

    @staticmethod
    def conditions() -> dict[str, Q]:
        """Whether there is one."""
        return {"linked": ~Q(linear_user_id=""), "missing": Q(linear_user_id="")}


@admin.register(ApproverProfile)
class ApproverProfileAdmin(_BySuperusers, _Recorded):
    """Who an account is in Linear."""

    list_display = ("user", _FULL_NAME, _EMAIL, "belongs_to", "account", "linear_user_id")
    list_filter = (LinkedFilter, "user__is_active", "user__groups")
    search_fields = ("user__username", "user__email", "user__last_name", "linear_user_id__exact")
    search_help_text = "A name, an email address, or the whole id of a Linear user."
    show_full_result_count = False
    list_per_page = 50
    ordering = ("user__username",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApproverProfile]:
        """Profiles with their accounts and those accounts' groups."""
        rows: QuerySet[ApproverProfile] = super().get_queryset(request).select_related("user")
        return rows.prefetch_related("user__groups")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:  # noqa: ARG002
        """A link is changed for its account, never handed on to another."""
        return [] if obj is None else ["user"]

    @admin.display(description="groups")
    def belongs_to(self, row: ApproverProfile) -> str:
        """The groups that policies know the person by."""
        return ", ".join(sorted(group.name for group in row.user.groups.all())) or cells.NOTHING

    @admin.display(description="account")
    def account(self, row: ApproverProfile) -> SafeString:
        """Whether the account is switched on."""
        return cells.state("live" if row.user.is_active else "switched off")

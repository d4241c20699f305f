"""Accounts as operators make them and superusers edit them: no form knows a password."""

from typing import TYPE_CHECKING, Any

from django.contrib.auth.forms import (
    ReadOnlyPasswordHashField,
    ReadOnlyPasswordHashWidget,
    UserChangeForm,
    UserCreationForm,
)
from django.contrib.auth.hashers import is_password_usable
from django.contrib.auth.models import User

if TYPE_CHECKING:
    AccountForm = UserCreationForm[User]
    ChangeForm = UserChangeForm[User]
else:
    AccountForm = UserCreationForm
    ChangeForm = UserChangeForm


class NewAccountForm(AccountForm):
    """An account without a password: nobody who makes one for others is to know it."""

    password1 = None  # type: ignore[assignment]
    password2 = None  # type: ignore[assignment]

    def set_password_and_save(
        self,
        user: User,
        password_field_name: str = "",  # noqa: ARG002
        commit: bool = True,
    ) -> User:
        """Save the account so that nobody can log in to it yet."""
        user.set_unusable_password()
        if commit:
            user.save()
        return user


class NoHash(ReadOnlyPasswordHashWidget):
    """Says whether there is a password; nothing of what is stored of it is shown."""

    def get_context(self, name: str, value: str | None, attrs: Any) -> dict[str, Any]:
        """The words instead of algorithm, salt and hash."""
        context = super().get_context(name, value, attrs)
        usable = value and is_password_usable(value)
        context["summary"] = [{"label": "Set" if usable else "None: nobody can log in with one"}]
        return context


class AccountChangeForm(ChangeForm):
    """An account as a superuser edits it."""

    password = ReadOnlyPasswordHashField(label="Password", widget=NoHash)

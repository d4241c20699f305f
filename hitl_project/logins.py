"""How many wrong passwords one may try, from where, before a login has to wait.

Whoever changes a password tries the old one like anybody who logs in.

Whoever fails is told to wait, never for longer than HITL_LOGIN_LOCKOUT_MINUTES after the last
failure that counted; what is tried in the meantime does not count. One address can only lock
itself out: it takes failures from many to lock an account for everybody.
"""

import logging
from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.handlers.proxy import AxesProxyHandler
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm, AdminPasswordChangeForm
from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import ValidationError
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse_lazy
from django.utils.cache import add_never_cache_headers
from django.views.decorators.debug import sensitive_variables

log = logging.getLogger(__name__)

# How many times the limit each of AXES_LOCKOUT_PARAMETERS may fail: one name at one address; one
# address, which many people may share; one name from everywhere, so that keeping its owner out
# takes ten addresses.
ALLOWANCES = (1, 4, 10)


class Lockouts(AxesDatabaseHandler):  # type: ignore[misc]  # axes ships no types
    """Counts failures in PostgreSQL, so that every web process knows of them."""

    def get_failures(
        self, request: HttpRequest, credentials: Mapping[str, Any] | None = None
    ) -> int:
        """The failures that count, as if all were of one name at one address."""
        counts: Iterable[int] = (
            rows.aggregate(failures=Sum("failures_since_start", default=0))["failures"]
            for rows in self.get_user_attempts(request, credentials)
        )
        return max(count // by for count, by in zip(counts, ALLOWANCES, strict=True))

    def reset_user_attempts(
        self, request: HttpRequest, credentials: Mapping[str, Any] | None = None
    ) -> int:
        """Forget what this name failed at this address, and nothing else.

        Otherwise whoever has an account could log in between two guesses at another's.
        """
        own, *_ = self.filter_user_attempts(request, credentials)
        count: int = own.delete()[0]
        return count

    def user_login_failed(
        self,
        sender: object,
        credentials: Mapping[str, Any],
        request: Any = None,
        **kwargs: Any,
    ) -> None:
        """Count a failure; the one that locks leaves a line in the log."""
        super().user_login_failed(sender, credentials, request, **kwargs)
        # Nothing was counted where the door was closed already.
        if request is not None and request.axes_locked_out and request.axes_failures_since_start:
            name = credentials.get("username")
            # What is no account's name may be a password in the wrong field.
            known = get_user_model().objects.filter(username=name).exists()
            facts = {"address": request.axes_ip_address, **({"account": name} if known else {})}
            log.warning("Too many logins failed; they have to wait", extra={"facts": facts})


def _refuse_who_waits(request: Any, user: User) -> None:
    """Ask once more, after the password was found right; raises ValidationError.

    Whoever guesses many times at once has been let through to every guess before one has failed.
    """
    if not AxesProxyHandler.is_allowed(request, {"username": user.get_username()}):
        # The middleware answers it as it answers who was not let through.
        request.axes_locked_out = True
        raise ValidationError("Too many logins failed.")


class LoginForm(AuthenticationForm):
    """Lets nobody in who had to wait by the time the password was looked at."""

    def confirm_login_allowed(self, user: User) -> None:
        """Refuse who has to wait or may not log in; raises ValidationError."""
        _refuse_who_waits(self.request, user)
        # Last: what this says of an account, nobody who has to wait may learn.
        super().confirm_login_allowed(user)


class AdminLoginForm(LoginForm, AdminAuthenticationForm):
    """The same at the admin's own door."""


class ChangePasswordForm(AdminPasswordChangeForm):
    """Takes the old password as a login does, so that whoever holds a session guesses in vain."""

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request

    @sensitive_variables("old_password")
    def clean_old_password(self) -> str:
        """The old password, if it is right and nobody has to wait; raises ValidationError."""
        old_password: str = self.cleaned_data["old_password"]
        name = self.user.get_username()
        if authenticate(self.request, username=name, password=old_password) is None:
            raise ValidationError(
                self.error_messages["password_incorrect"], code="password_incorrect"
            )
        _refuse_who_waits(self.request, self.user)
        # Whoever remembers it starts anew, as after a login.
        AxesProxyHandler.user_logged_in(type(self), self.request, self.user)
        return old_password


class ChangePassword(PasswordChangeView):
    """The page on which people change their own password."""

    form_class = ChangePasswordForm

    def get_form_kwargs(self) -> dict[str, Any]:
        """What the form is made of."""
        return {**super().get_form_kwargs(), "request": self.request}


class AdminChangePassword(ChangePassword):
    """The same at the admin's own door."""

    success_url = reverse_lazy("admin:password_change_done")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """What every page of the admin shows, too."""
        return super().get_context_data(**kwargs) | admin.site.each_context(self.request)


def for_templates(request: HttpRequest) -> dict[str, bool]:  # noqa: ARG001
    """Context processor: `by_password`, whether anybody logs in by one."""
    return {"by_password": settings.HITL_PASSWORD_LOGIN}


def client_address(request: HttpRequest) -> str | None:
    """Where failures count: an IPv4 address, or the /64 network that one IPv6 customer has."""
    try:
        address = ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        # A socket of this machine; all who come that way count together.
        return None
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ip_network((int(address), 64), strict=False).network_address)
    return str(address)


def locked_out(
    request: HttpRequest,
    response: HttpResponse | None = None,  # noqa: ARG001
    credentials: object = None,  # noqa: ARG001
) -> HttpResponse:
    """The page that asks to wait; it says the same to everybody, whoever exists or failed."""
    wait = settings.AXES_COOLOFF_TIME
    minutes = int(wait.total_seconds()) // 60
    shown = {"minutes": minutes, "provider": settings.HITL_OIDC}
    page = render(request, "registration/locked_out.html", shown, status=429)
    page["Retry-After"] = str(minutes * 60)
    add_never_cache_headers(page)
    return page

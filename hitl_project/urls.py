"""Every address of the gateway."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import urls as auth_urls
from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import URLPattern, include, path, re_path

from approvals.health import healthz, metrics, readyz
from approvals.stream import events
from hitl_project import single_sign_on
from hitl_project.api import api, no_such_path
from hitl_project.logins import AdminChangePassword, ChangePassword
from integrations.webhooks import resume


def _with_passwords(
    view: Callable[..., HttpResponseBase], route: str, name: str | None
) -> URLPattern:
    """A page about passwords, which is not there where nobody logs in by one."""

    @wraps(view)
    def page(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not settings.HITL_PASSWORD_LOGIN:
            raise Http404
        return view(request, *args, **kwargs)

    return path(route, page, name=name)


_OURS = {"login", "logout", "password_change"}
accounts = [
    path("login/", single_sign_on.LogIn.as_view(), name="login"),
    path("sign-on/", single_sign_on.begin, name="sign-on"),
    path("sign-on/callback/", single_sign_on.finish, name="sign-on-callback"),
    path("logout/", single_sign_on.LogOut.as_view(), name="logout"),
    _with_passwords(ChangePassword.as_view(), "password_change/", "password_change"),
    *(
        _with_passwords(pattern.callback, f"{pattern.pattern}", pattern.name)
        for pattern in auth_urls.urlpatterns
        if isinstance(pattern, URLPattern) and pattern.name not in _OURS
    ),
]

urlpatterns = [
    path("admin/login/", single_sign_on.admin_login),
    path("admin/logout/", admin.site.admin_view(single_sign_on.LogOut.as_view())),
    _with_passwords(
        admin.site.admin_view(AdminChangePassword.as_view()), "admin/password_change/", None
    ),
    path("admin/", admin.site.urls),
    path("accounts/", include(accounts)),
    path("api/", api.urls),
    # Whatever else, a line break in the path too, which <path:rest> would not take.
    re_path(r"^api/(?P<rest>[\s\S]+)", no_such_path),
    path("resume", resume, name="resume"),
    path("webhooks/linear", resume),
    path("events", events, name="events"),
    path("metrics", metrics, name="metrics"),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("runs/", include("agents.urls")),
    path("", include("approvals.urls")),
]

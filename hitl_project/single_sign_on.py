"""Single sign-on by OpenID Connect: a login for which a provider vouches.

Authlib speaks the protocol: the authorization code flow with PKCE, state and nonce. Here stands
what it is held to, whose account a login opens, and what people are told when it fails.
"""

import logging
import re
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import urlencode, urlsplit

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.django_client import DjangoIntegration, DjangoOAuth2App, OAuthError
from authlib.integrations.requests_client import OAuth2Session
from django.conf import settings
from django.contrib import admin
from django.contrib.auth import BACKEND_SESSION_KEY, login
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView, redirect_to_login
from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render, resolve_url
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET
from joserfc.errors import ClaimError, JoseError
from requests import RequestException

from approvals import services
from approvals.errors import NotAllowed
from approvals.services import Person
from hitl_project import claims
from hitl_project.logins import LoginForm
from hitl_project.provider import Provider
from integrations.addresses import RefusedAddress
from integrations.guarded_session import guarded_session

log = logging.getLogger(__name__)

BACKEND = "hitl_project.single_sign_on.ProviderBackend"
PROVIDER_SECONDS = 10
_NEXT = "sign_on_next"
# What the provider names of itself and the gateway or a browser then asks.
_ADDRESSES = (
    *("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"),
    "end_session_endpoint",
)
# What comes of a provider that is down, or whose answers are not what they should be: Authlib reads
# them without looking at their shape first.
_FAULTS = (
    *(AuthlibBaseError, JoseError, RefusedAddress, RequestException),
    *(AttributeError, KeyError, RuntimeError, TypeError, ValueError),
)


class ProviderBackend(ModelBackend):
    """Keeps the logins that a provider vouched for, and takes no password.

    It stands in the settings with the provider alone, so without one those logins end.
    """

    def authenticate(self, request: HttpRequest | None, **_: Any) -> None:  # type: ignore[override]
        """Log nobody in: that is done where the provider's word is heard."""


class _Client(DjangoOAuth2App):  # type: ignore[misc]  # Authlib ships no types
    """Authlib's client, held to the issuer and the algorithm that the settings name, and to TLS."""

    provider: Provider

    @staticmethod
    def client_cls(**given: Any) -> OAuth2Session:
        """A session that is led nowhere by the provider's answers, nor by its addresses."""
        return guarded_session(OAuth2Session(**given))

    def _get_oauth_client(self, **metadata: Any) -> OAuth2Session:
        # Authlib hands a session all that the provider says of itself, and so would let it choose
        # a proxy, or that certificates do not count.
        named = {name: metadata[name] for name in _ADDRESSES if name in metadata}
        return super()._get_oauth_client(**named)

    def load_server_metadata(self) -> dict[str, Any]:
        """What the provider says of itself, asked once a process.

        Raises OAuthError where it is not the provider of the settings, or names an address
        without TLS although it has one with it.
        """
        metadata: dict[str, Any] = super().load_server_metadata()
        if metadata.get("issuer") != self.provider.issuer:
            self.server_metadata.clear()
            raise OAuthError("wrong_issuer")
        schemes = {"https", urlsplit(self.provider.issuer).scheme}
        named = [metadata[name] for name in _ADDRESSES if name in metadata]
        if any(urlsplit(address).scheme not in schemes for address in named):
            self.server_metadata.clear()
            raise OAuthError("insecure_address")
        metadata["id_token_signing_alg_values_supported"] = [self.provider.algorithm]
        return metadata


@cache
def _client(provider: Provider) -> _Client:
    client = _Client(
        DjangoIntegration("oidc"),
        name="oidc",
        client_id=provider.client_id,
        client_secret=provider.client_secret,
        server_metadata_url=f"{provider.issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={
            "scope": provider.scopes,
            "code_challenge_method": "S256",
            "default_timeout": PROVIDER_SECONDS,
        },
    )
    client.provider = provider
    return client


class LogIn(LoginView):
    """The page to log in, by password and by whatever the settings name."""

    authentication_form = LoginForm

    def post(self, request: HttpRequest, *args: str, **kwargs: Any) -> HttpResponse:
        """Log in by password, where the settings let anybody."""
        if not settings.HITL_PASSWORD_LOGIN:
            # A page from before they were switched off: the new one shows what is left.
            return redirect(request.get_full_path())
        return super().post(request, *args, **kwargs)

    def get_form(self, form_class: type[AuthenticationForm] | None = None) -> AuthenticationForm:
        """The form; where there is another way in, above it, nobody is led past that."""
        form = super().get_form(form_class)
        if settings.HITL_OIDC is not None:
            del form.fields["username"].widget.attrs["autofocus"]
        return form

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """What the page shows beside the form."""
        return super().get_context_data(**kwargs) | {"provider": settings.HITL_OIDC}


class LogOut(LogoutView):
    """Logs out here, and leads to where the provider does, if it vouched for the login."""

    def post(self, request: HttpRequest, *args: str, **kwargs: Any) -> HttpResponse:
        """Log out; the page says whether that was all.

        No redirect: whether the provider's other programs are to be left as well is the person's
        choice, and our policy lets no form end at another site.
        """
        provider: Provider | None = settings.HITL_OIDC
        vouched = request.session.get(BACKEND_SESSION_KEY) == BACKEND
        answer = super().post(request, *args, **kwargs)
        address = _logout_address(provider) if provider and vouched else ""
        if not address:
            return answer
        shown = {"provider": provider, "address": address}
        return render(request, "registration/logged_out.html", shown)


def admin_login(request: HttpRequest) -> HttpResponseBase:
    """The admin's own door; where there is a provider, everybody takes the one that knows it."""
    if settings.HITL_OIDC is None:
        return admin.site.login(request)
    return redirect_to_login(request.GET.get("next") or reverse("admin:index"))


@never_cache
@require_GET
def begin(request: HttpRequest) -> HttpResponse:
    """Lead the browser to the provider."""
    provider = _provider()
    request.session[_NEXT] = _wanted(request)
    _let_go_of_database()
    # Not by the request's own host: only an address that was registered is answered.
    back = f"{settings.PUBLIC_URL}{reverse('sign-on-callback')}"
    try:
        led: HttpResponse = _client(provider).authorize_redirect(request, back)
    except _FAULTS as fault:
        return _unusable(request, provider, fault)
    return led


@never_cache
@require_GET
def finish(request: HttpRequest) -> HttpResponse:
    """Take the provider's answer: log in whom it vouches for, or say why nobody was."""
    provider = _provider()
    client = _client(provider)
    state = request.GET.get("state", "")
    if client.framework.get_state_data(request.session, state) is None:
        return _told(
            request,
            400,
            "This login was begun in another browser or too long ago, or is over already.",
        )
    if (refusal := request.GET.get("error")) is not None:
        client.framework.clear_state_data(request.session, state)
        return _refused(request, provider, refusal)
    _let_go_of_database()
    # Asked for anew each time, so that keys that were changed count at once.
    client.server_metadata.pop("jwks", None)
    try:
        token = client.authorize_access_token(
            request,
            claims_options={
                "iss": {"essential": True, "values": [provider.issuer]},
                "aud": {"essential": True, "values": [provider.client_id]},
            },
        )
        person = claims.person(provider, _claims(client, token))
    except OAuthError as fault:
        if fault.error == "invalid_grant":
            return _told(request, 400, "This login was used already, or is too old.")
        return _unusable(request, provider, fault)
    except _FAULTS as fault:
        return _unusable(request, provider, fault)
    return _let_in(request, provider, person)


def _let_in(request: HttpRequest, provider: Provider, person: Person) -> HttpResponse:
    try:
        account = services.admit_person(person, governed=provider.governed)
    except NotAllowed as refusal:
        # The subject is what an operator needs to link the account, and no secret.
        facts = {"subject": person.subject, "account": person.name}
        log.warning("A login by single sign-on was refused", extra={"facts": facts})
        return _told(request, refusal.http_status, str(refusal))
    wanted = request.session.pop(_NEXT, "")
    login(request, account, backend=BACKEND)
    return redirect(wanted or resolve_url(settings.LOGIN_REDIRECT_URL))


def _let_go_of_database() -> None:
    """Give the connection back: a few who wait for a slow provider must not hold them all."""
    if not connection.in_atomic_block:
        connection.close()


def _provider() -> Provider:
    provider: Provider | None = settings.HITL_OIDC
    if provider is None:
        raise Http404
    return provider


def _wanted(request: HttpRequest) -> str:
    """The page that somebody wanted to see, if it is one of ours."""
    address = request.GET.get("next", "")
    ours = url_has_allowed_host_and_scheme(
        address, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return address if ours else ""


def _claims(client: _Client, token: Mapping[str, Any]) -> dict[str, Any]:
    """What the provider says of the person: in the signed token first, then where one may ask."""
    signed = token.get("userinfo")
    if not signed:
        raise OAuthError("no_id_token")
    if "userinfo_endpoint" not in client.server_metadata:
        return dict(signed)
    told = client.userinfo(token=token)
    if told.get("sub") != signed["sub"]:
        raise OAuthError("wrong_subject")
    return {**told, **signed}


def _logout_address(provider: Provider) -> str:
    """Where the provider ends its own session, or nothing where it tells of no such address.

    OpenID Connect RP-Initiated Logout 1.0. Without a hint at whose session it is, which would have
    to be kept of the login, the provider asks the person first.
    """
    client = _client(provider)
    _let_go_of_database()
    try:
        endpoint = client.load_server_metadata().get("end_session_endpoint", "")
    except _FAULTS:
        endpoint = ""
    if not endpoint:
        return ""
    separator = "&" if "?" in endpoint else "?"
    return f"{endpoint}{separator}{urlencode({'client_id': provider.client_id})}"


def _refused(request: HttpRequest, provider: Provider, error: str) -> HttpResponse:
    """What the provider answered instead of a login; its words may be anybody's, so only a code."""
    if error == "access_denied":
        return _told(request, 403, f"{provider.name} did not let you in.")
    return _unusable(request, provider, OAuthError(error))


def _unusable(request: HttpRequest, provider: Provider, fault: Exception) -> HttpResponse:
    """The page for a provider that fails; why is for the log, without what it answered."""
    error = fault.error if isinstance(fault, AuthlibBaseError | JoseError) else ""
    known = error if re.fullmatch(r"[a-z_]{1,40}", error or "") else ""
    claim = fault.claim if isinstance(fault, ClaimError) else ""
    reason = str(fault) if isinstance(fault, RefusedAddress) else ""
    told = {"fault": type(fault).__name__, "error": known, "claim": claim, "reason": reason}
    facts = {name: fact for name, fact in told.items() if fact}
    log.error("The provider of single sign-on could not be used", extra={"facts": facts})
    return _told(
        request,
        502,
        f"{provider.name} cannot be reached, or gave an answer that the gateway cannot trust."
        " Somebody who runs the gateway can see why.",
    )


def _told(request: HttpRequest, status: int, sentence: str) -> HttpResponse:
    """A page with a sentence and a way to try again."""
    shown = {"sentence": sentence, "next": request.session.get(_NEXT, "")}
    return render(request, "registration/sign_on_failed.html", shown, status=status)

"""The provider's addresses: its own below `/o/`, and two for tests, which stand for its people.

`/people/` takes what there is to know of somebody, what their tokens claim against the truth, and
how the one application is registered; `/login/` logs somebody in without a password.
"""

import json
from typing import Any

from django.contrib.auth import login
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from oauth2_provider.models import Application
from oauth2_provider.oauth2_validators import OAuth2Validator

from tests.openid_provider import CLIENT_ID, CLIENT_SECRET

people: dict[str, dict[str, Any]] = {}
lies: dict[str, Any] = {}


class Claims(OAuth2Validator):  # type: ignore[misc]  # the toolkit ships no types
    """Says of people what the tests said of them."""

    # Whatever the scopes: the gateway asks for those of the standard claims alone.
    oidc_claim_scope = None

    def get_additional_claims(self, request: Any) -> dict[str, Any]:
        """What is known of the person, and who they are."""
        return {**people[request.user.username], "sub": f"subject-{request.user.username}"}

    def get_id_token_dictionary(
        self, token: Any, token_handler: Any, request: Any
    ) -> tuple[Any, Any]:
        """The claims of the signed token, and what is false in them."""
        claims, expires = super().get_id_token_dictionary(token, token_handler, request)
        return {**claims, **lies}, expires


def tell(request: HttpRequest) -> HttpResponse:
    """Take what the tests say of people and of the application."""
    told = json.loads(request.body)
    people.update(told["people"])
    lies.clear()
    lies.update(told["lies"])
    Application.objects.update_or_create(
        client_id=CLIENT_ID,
        defaults={
            "name": "Approval gateway",
            "client_type": Application.CLIENT_CONFIDENTIAL,
            "authorization_grant_type": Application.GRANT_AUTHORIZATION_CODE,
            "client_secret": CLIENT_SECRET,
            # Signing with the secret takes it in clear.
            "hash_client_secret": False,
            "redirect_uris": " ".join(told["redirect_uris"]),
            "algorithm": told["algorithm"],
            "skip_authorization": told["consents"],
        },
    )
    return HttpResponse(status=204)


def log_in(request: HttpRequest) -> HttpResponse:
    """Log somebody in."""
    user, _ = User.objects.get_or_create(username=request.GET["as"])
    login(request, user)
    return HttpResponse(status=204)


urlpatterns = [
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
    path("people/", tell),
    path("login/", log_in),
]

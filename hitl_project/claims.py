"""What a provider of single sign-on claims of a person, and what the gateway takes of it."""

import re
from collections.abc import Mapping
from typing import Any

from authlib.integrations.django_client import OAuthError
from django.contrib.auth.validators import ASCIIUsernameValidator
from django.core.exceptions import ValidationError

from approvals.services import Person
from hitl_project.provider import Provider

# OpenID Connect Core 1.0, section 2: no subject is longer.
_LONGEST_SUBJECT = 255


def person(provider: Provider, claims: Mapping[str, Any]) -> Person:
    """Whom the claims are about; OAuthError where they do not say it as the standard asks."""
    subject = claims["sub"]
    if not isinstance(subject, str) or not re.fullmatch(
        rf"[\x20-\x7E]{{1,{_LONGEST_SUBJECT}}}", subject
    ):
        raise OAuthError("wrong_subject")
    theirs = claims.get(provider.groups_claim, [])
    names = [theirs] if isinstance(theirs, str) else theirs
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise OAuthError("wrong_groups")
    # An address that the provider did not check is anybody's.
    email = _line(claims, "email", 254) if claims.get("email_verified") is True else ""
    return Person(
        issuer=provider.issuer,
        subject=subject,
        name=_account_name(_line(claims, "preferred_username", 150), email, subject),
        email=email,
        first_name=_line(claims, "given_name", 150),
        last_name=_line(claims, "family_name", 150),
        groups=frozenset(ours for name, ours in provider.groups if name in names),
    )


def _line(claims: Mapping[str, Any], name: str, longest: int) -> str:
    """A claim as one readable line, or nothing."""
    text = claims.get(name)
    fits = isinstance(text, str) and len(text) <= longest and text.isprintable()
    return str(text) if fits else ""


def _account_name(*names: str) -> str:
    """The first that may be an account's name; in ASCII, so that none only looks like another."""
    for name in names:
        try:
            ASCIIUsernameValidator()(name)
        except ValidationError:
            continue
        if len(name) <= 150:
            return name
    return ""

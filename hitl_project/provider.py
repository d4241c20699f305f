"""The provider of single sign-on, as the environment names it; half of one stops the start."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from approvals.core.roles import OPERATORS

# Signed by the provider's private key alone: with a shared secret, or with none, whoever knows the
# client's could write a login.
ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"),
    "EdDSA",
)


@dataclass(frozen=True)
class Provider:
    """An OpenID provider, and which groups of ours its groups give.

    `groups` are pairs of the provider's name of a group and ours.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    name: str
    scopes: str
    algorithm: str
    groups_claim: str
    groups: tuple[tuple[str, str], ...]

    @property
    def governed(self) -> frozenset[str]:
        """Our groups whose members the provider alone names, at each of their logins."""
        return frozenset(ours for _, ours in self.groups)


def read(environ: Mapping[str, str]) -> Provider | None:
    """The provider that the environment names, or None where it names none.

    Raises ImproperlyConfigured for half a configuration and for what cannot be trusted.
    """
    given = {name: value.strip() for name, value in environ.items() if value.strip()}
    issuer = given.get("HITL_OIDC_ISSUER", "")
    client_id = given.get("HITL_OIDC_CLIENT_ID", "")
    client_secret = given.get("HITL_OIDC_CLIENT_SECRET", "")
    needed = ("HITL_OIDC_ISSUER", "HITL_OIDC_CLIENT_ID", "HITL_OIDC_CLIENT_SECRET")
    missing = [name for name in needed if name not in given]
    if missing and (found := sorted(name for name in given if name.startswith("HITL_OIDC_"))):
        raise ImproperlyConfigured(
            f"Set {' and '.join(missing)}: {found[0]} is set, and single sign-on needs all of"
            f" {', '.join(needed)}."
        )
    if missing:
        return None
    host = _host(issuer)
    return Provider(
        issuer=issuer,
        client_id=client_id,
        client_secret=client_secret,
        name=given.get("HITL_OIDC_NAME", host),
        scopes=_scopes(given.get("HITL_OIDC_SCOPES", "openid profile email")),
        algorithm=_algorithm(given.get("HITL_OIDC_ALGORITHM", "RS256")),
        groups_claim=given.get("HITL_OIDC_GROUPS_CLAIM", "groups"),
        groups=_groups(given.get("HITL_OIDC_GROUPS", "")),
    )


def _host(issuer: str) -> str:
    """The host of an issuer that may be asked; only on this machine without TLS."""
    try:
        parts = urlsplit(issuer)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    schemes = {"https", "http"} if host in {"localhost", "127.0.0.1", "::1"} else {"https"}
    if host and parts.scheme in schemes and not parts.query and not parts.fragment:
        return host
    raise ImproperlyConfigured(
        "HITL_OIDC_ISSUER must be an https address without a query, written as the provider writes"
        f" it in its tokens, not {issuer!r}."
    )


def _scopes(text: str) -> str:
    if "openid" in text.split() and re.fullmatch(r"[\x21\x23-\x5B\x5D-\x7E ]+", text):
        return text
    raise ImproperlyConfigured(
        f"HITL_OIDC_SCOPES must be scopes separated by spaces, openid among them, not {text!r}."
    )


def _algorithm(text: str) -> str:
    if text in ALGORITHMS:
        return text
    raise ImproperlyConfigured(
        f"HITL_OIDC_ALGORITHM must be one of {', '.join(ALGORITHMS)}, not {text!r}."
    )


def _groups(text: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        # A name at the provider may hold the sign itself: cn=admins,ou=groups=admins.
        theirs, _, ours = (piece.strip() for piece in part.rpartition("="))
        if not theirs or not ours or len(ours) > 150:
            raise ImproperlyConfigured(
                "HITL_OIDC_GROUPS must be pairs such as sre=platform; admins=release-managers, a"
                f" group of the provider and one of the gateway's, not {part!r}."
            )
        if ours == OPERATORS:
            raise ImproperlyConfigured(
                f"HITL_OIDC_GROUPS must not give the group {OPERATORS}: operators are made by a"
                " superuser."
            )
        pairs.append((theirs, ours))
    return tuple(pairs)

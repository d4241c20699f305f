"""`manage.py create_approver`: an account that may decide, linked to its person in Linear."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email

from approvals.errors import Refusal
from approvals.policy import policy_groups
from approvals.services import create_approver, create_token

LONGEST_LINEAR_ID = 60
LONGEST_SUBJECT = 255


class Command(BaseCommand):
    """Creates an approver, or changes one who exists."""

    help = (
        "Create or update an account that may decide requests. Groups are added, never taken"
        " away. A new account has no password: set one with `changepassword NAME`."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the person's facts."""
        parser.add_argument("name", metavar="NAME", help="the account's name")
        parser.add_argument("--email", required=True)
        parser.add_argument(
            "--group",
            action="append",
            default=[],
            dest="groups",
            help="a group that policies name; may be repeated",
        )
        parser.add_argument(
            "--linear-user", default="", metavar="ID", help="the UUID of the person's Linear user"
        )
        parser.add_argument(
            "--oidc-subject",
            default="",
            metavar="SUBJECT",
            help="who the person is to the provider in HITL_OIDC_ISSUER; the log names it when"
            " somebody who is not linked logs in there",
        )
        parser.add_argument(
            "--token",
            action="store_true",
            help="also make a token with the scope decide, and print only the token",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Create the account and, where asked, a token."""
        name, email, groups = options["name"], options["email"], options["groups"]
        _check(name, email, options["linear_user"])
        if strange := sorted(set(groups) - policy_groups()):
            self.stderr.write(
                f"No policy names {' or '.join(strange)}; the account is made anyway."
            )
        try:
            create_approver(
                name,
                email=email,
                groups=groups,
                linear_user_id=options["linear_user"],
                identity=_identity(options["oidc_subject"]),
            )
            token = create_token(name, scope="decide") if options["token"] else ""
        except Refusal as refusal:
            raise CommandError(str(refusal)) from refusal
        if token:
            self.stdout.write(token)
        else:
            self.stderr.write(f"{name} is an approver.")


def _identity(subject: str) -> tuple[str, str] | None:
    if not subject:
        return None
    if settings.HITL_OIDC is None:
        raise CommandError("There is no HITL_OIDC_ISSUER, so nobody has a subject there.")
    if len(subject) > LONGEST_SUBJECT:
        raise CommandError(f"A subject has at most {LONGEST_SUBJECT} characters.")
    return settings.HITL_OIDC.issuer, subject


def _check(name: str, email: str, linear_user: str) -> None:
    try:
        User._meta.get_field("username").clean(name, None)
        validate_email(email)
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from error
    if len(linear_user) > LONGEST_LINEAR_ID:
        raise CommandError(f"A Linear user's id has at most {LONGEST_LINEAR_ID} characters.")

"""`manage.py create_token`: a bearer token for an account, printed once."""

from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from approvals.core.roles import SCOPES
from approvals.errors import Refusal
from approvals.services import create_token


class Command(BaseCommand):
    """Makes a token and prints nothing else on stdout."""

    help = (
        "Make a token for an account and print only the token; it cannot be shown again."
        " With the scope request an account that does not exist yet is created, without a"
        " password and without groups: it can ask, and neither log in nor decide. A token with the"
        " scope decide is only for accounts that exist: see create_approver."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the account and what the token is for."""
        parser.add_argument("name", metavar="NAME", help="the account's name")
        parser.add_argument("--scope", choices=sorted(SCOPES), default="request")

    def handle(self, *_: Any, **options: Any) -> None:
        """Make the token."""
        name, scope = options["name"], options["scope"]
        if scope == "request" and not User.objects.filter(username=name).exists():
            _create_account(name)
            self.stderr.write(f"The account {name} is new.")
        try:
            token = create_token(name, scope=scope)
        except Refusal as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(token)


def _create_account(name: str) -> None:
    user = User(username=name)
    user.set_unusable_password()
    try:
        user.full_clean()
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from error
    user.save()

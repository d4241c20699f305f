"""`manage.py accept_database`: an operator's word that a restored database may be worked on."""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.restoring import accept_database
from approvals.actors import user_actor
from approvals.core.lifecycle import Via
from approvals.errors import Refusal
from approvals.selectors.queue import count_pending_elsewhere


class Command(BaseCommand):
    """Holds every run of a restored database, then lets workers work."""

    help = (
        "Let workers work on a database that was restored from a backup. Every run that has not"
        " ended then needs attention, until an operator settles it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the reason, the account and whether the copy is complete."""
        parser.add_argument("--reason", required=True, help="which backup, and why")
        parser.add_argument("--as", required=True, dest="account", metavar="NAME")
        parser.add_argument(
            "--nothing-lost",
            action="store_true",
            help="hold no run: the gateway stood still from before the copy was taken until now",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Accept the database, or say why not."""
        user = User.objects.filter(username=options["account"]).first()
        if user is None:
            raise CommandError(f"There is no account named {options['account']}.")
        nothing_lost = options["nothing_lost"]
        try:
            held = accept_database(
                actor=user_actor(user, Via.COMMAND),
                reason=options["reason"],
                nothing_lost=nothing_lost,
            )
        except Refusal as refusal:
            raise CommandError(str(refusal)) from refusal
        if nothing_lost:
            self.stdout.write("The database was accepted as it is; every run goes on.")
            return
        self.stdout.write(
            f"The database was accepted. Runs that now need attention: {held}; settle each once you"
            " have looked. Requests that agents elsewhere wait for:"
            f" {count_pending_elsewhere()}; cancel those whose operation was carried out."
        )

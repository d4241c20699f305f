"""`manage.py settle_run`: a person's way out of a run that needs attention."""

from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.services import OUTCOMES, settle_run
from approvals.actors import user_actor
from approvals.core.lifecycle import Via
from approvals.errors import Refusal


class Command(BaseCommand):
    """Settles one run as an operator's word."""

    help = (
        "Settle a run that needs attention. done: the action did happen, the run goes on."
        " retry: begin it once more. abandon: it did not happen and shall not."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the run, the outcome, the reason and the account."""
        parser.add_argument("workflow_id", type=UUID, metavar="WORKFLOW_ID")
        parser.add_argument("outcome", choices=OUTCOMES)
        parser.add_argument("--reason", required=True)
        parser.add_argument("--as", required=True, dest="account", metavar="NAME")

    def handle(self, *_: Any, **options: Any) -> None:
        """Settle the run, or say why not."""
        user = User.objects.filter(username=options["account"]).first()
        if user is None:
            raise CommandError(f"There is no account named {options['account']}.")
        actor = user_actor(user, Via.COMMAND)
        try:
            settle_run(
                options["workflow_id"], options["outcome"], actor=actor, reason=options["reason"]
            )
        except Refusal as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(f"The run was settled as {options['outcome']}.")

"""`manage.py resolve_request`: decide by command, such as when a webhook was lost."""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from approvals.actors import user_actor
from approvals.core.lifecycle import Choice, Status, Via
from approvals.errors import Refusal
from approvals.selectors.request import find_request
from approvals.services import cast_vote


class Command(BaseCommand):
    """Casts one person's vote; the same rules hold as everywhere."""

    help = "Approve or reject a request as an account, by the same rules as everywhere."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the request, the choice, the reason and the account."""
        parser.add_argument(
            "reference", metavar="CHEF-271|UUID", help="the Linear identifier or the id"
        )
        choice = parser.add_mutually_exclusive_group(required=True)
        choice.add_argument("--approve", action="store_true")
        choice.add_argument("--reject", action="store_true")
        parser.add_argument("--reason", default="", help="needed for --reject")
        parser.add_argument(
            "--as", required=True, dest="account", metavar="NAME", help="whose vote it is"
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Cast the vote and say what came of it."""
        choice = Choice.REJECT if options["reject"] else Choice.APPROVE
        reason = options["reason"].strip()
        if choice is Choice.REJECT and not reason:
            raise CommandError("Give a --reason: people will ask why it was rejected.")
        user = User.objects.filter(username=options["account"]).first()
        if user is None:
            raise CommandError(f"There is no account named {options['account']}.")
        try:
            request = find_request(options["reference"])
            ballot = cast_vote(
                request.pk, actor=user_actor(user, Via.COMMAND), choice=choice, comment=reason
            )
        except Refusal as refusal:
            raise CommandError(str(refusal)) from refusal
        name = request.linear_issue_id or request.pk
        if ballot.status is Status.PENDING:
            count = f"{ballot.approvals} of {ballot.quorum}"
            self.stdout.write(f"The vote counts: {name} has {count} approvals.")
        else:
            self.stdout.write(f"{name} is {ballot.status}.")

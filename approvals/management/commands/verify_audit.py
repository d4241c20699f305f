"""`manage.py verify_audit`: whether the audit log is whole and the requests agree with it."""

from itertools import chain
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from approvals.audit import broken_links
from approvals.selectors.consistency import disagreements


class Command(BaseCommand):
    """Reads every audit entry and every request."""

    help = (
        "Check the chain of every audit entry, and that every request says what its entries say."
        " Prints a sentence for each fault and exits with 1 where there is one."
    )

    def handle(self, *_: Any, **options: Any) -> None:
        """Print the faults."""
        del options
        faults = 0
        for sentence in chain(broken_links(), disagreements()):
            self.stdout.write(sentence)
            faults += 1
        if faults:
            raise CommandError(f"The audit log has {faults} fault{'s' if faults > 1 else ''}.")
        self.stdout.write("The audit log is whole, and every request agrees with it.")

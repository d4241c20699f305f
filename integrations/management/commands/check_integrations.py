"""`manage.py check_integrations`: do Linear and GitHub answer, as whom, with what."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from integrations.checks import check_integrations


class Command(BaseCommand):
    """Says what works and what somebody has to act on; exits 1 for the latter."""

    help = "Check keys, team, labels, states, webhook, repositories and deciding groups."

    def handle(self, *_: Any, **__: Any) -> None:
        """Print every finding."""
        failed = False
        for finding in check_integrations():
            self.stdout.write(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.sentence}")
            failed = failed or not finding.ok
        if failed:
            sys.exit(1)

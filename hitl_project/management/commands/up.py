"""`manage.py up`: run everything on this machine."""

import sys

from django.core.management.base import BaseCommand

from hitl_project import local


class Command(BaseCommand):
    """Makes the command known; `manage.py` itself runs it, before settings are needed."""

    help = "Run everything on this machine: servers, sandbox, web, workers, beat and the demo."
    requires_system_checks = ()

    def handle(self, **_: object) -> None:
        """Run until a signal or a failure."""
        sys.exit(local.main([]))

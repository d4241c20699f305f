"""`manage.py beat`: remind the workers of what is due."""

import sys

from django.conf import settings
from django.core.management.base import BaseCommand

from hitl_project.celery import app


class Command(BaseCommand):
    """Runs Celery beat until SIGTERM; a second one elsewhere does no harm."""

    help = "Remind the workers of what is due."

    def handle(self, **_: object) -> None:
        """Run Celery beat in this process."""
        sys.exit(
            app.start(
                [
                    *("--quiet", "--skip-checks", "beat"),
                    # Keeps no file: one written by a clock that was ahead would hold sweeps back.
                    *("--scheduler", "celery.beat:Scheduler"),
                    *("--loglevel", settings.LOGGING["root"]["level"]),
                ]
            )
        )

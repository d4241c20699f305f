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
        settings.HITL_DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
        sys.exit(
            app.start(
                [
                    *("--quiet", "--skip-checks", "beat"),
                    *("--schedule", str(settings.HITL_DATA_DIR / "beat-schedule")),
                    *("--loglevel", settings.LOGGING["root"]["level"]),
                ]
            )
        )

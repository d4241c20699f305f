"""`manage.py worker`: do the work that requests and runs owe."""

import os
import sys
from argparse import ArgumentParser
from importlib import import_module

from django.conf import settings
from django.core.management.base import BaseCommand

from hitl_project.celery import app


class Command(BaseCommand):
    """Runs one Celery worker until SIGTERM, which lets the tasks under way finish."""

    help = "Do the work that requests and runs owe."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare which queues are served, and by how many processes."""
        parser.add_argument(
            "--queues",
            default="runs,channels,sweeps",
            help="comma-separated; default runs,channels,sweeps",
        )
        parser.add_argument(
            "--concurrency", type=int, default=os.cpu_count(), help="processes, default one a core"
        )

    def handle(self, *, queues: str, concurrency: int, **_: object) -> None:
        """Run Celery in this process."""
        if "runs" in queues.split(","):
            # Slow to load, so loaded once and shared, before the pool's processes are forked.
            import_module("agents.turns")
        # Named by queues and process, because Celery wants every worker's name to be its own.
        name = f"{queues.replace(',', '-')}-{os.getpid()}@%h"
        sys.exit(
            app.start(
                [
                    *("--quiet", "--skip-checks", "worker"),
                    *("--queues", queues, "--concurrency", str(concurrency), "--hostname", name),
                    *("--pool", "prefork", "-O", "fair", "--without-gossip", "--without-mingle"),
                    *("--loglevel", settings.LOGGING["root"]["level"]),
                ]
            )
        )

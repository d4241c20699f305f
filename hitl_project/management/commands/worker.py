"""`manage.py worker`: do the work that requests and runs owe."""

import gc
import os
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from importlib import import_module

from celery.apps import worker as celery_worker
from celery.bin.celery import celery
from celery.signals import heartbeat_sent
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connection

from approvals.core.queues import Queue
from approvals.services import beat_heart
from hitl_project import grants
from hitl_project.logs import write_line

HEARTBEAT_SECONDS = 5.0


class Command(BaseCommand):
    """Runs one Celery worker until SIGTERM, which lets the tasks under way finish."""

    help = "Do the work that requests and runs owe."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare which queues are served, and by how many processes."""
        parser.add_argument(
            "--queues",
            default=",".join(Queue),
            help=f"comma-separated; default {','.join(Queue)}",
        )
        parser.add_argument(
            "--concurrency", type=int, default=os.cpu_count(), help="processes, default one a core"
        )

    def handle(self, *, queues: str, concurrency: int, **_: object) -> None:
        """Run Celery in this process, and exit with its status."""
        grants.warn_of_what_is_out_of_place()
        if Queue.RUNS in queues.split(","):
            # Slow to load, so loaded once and shared, before the pool's processes are forked.
            import_module("agents.turns")
        # What is loaded stays: were it looked through for garbage, each process would copy it.
        gc.collect()
        gc.freeze()
        _keep_heart(queues.split(","))
        # What it says when it is asked to stop would else be the only line of another kind.
        celery_worker.safe_say = write_line
        # Named by queues and process, because Celery wants every worker's name to be its own.
        name = f"{queues.replace(',', '-')}-{os.getpid()}@%h"
        # As from the shell: `app.start` would pass by how it ended, and say that all was well.
        celery.main(
            [
                *("--app", "hitl_project.celery", "--quiet", "--skip-checks", "worker"),
                *("--queues", queues, "--concurrency", str(concurrency), "--hostname", name),
                *("--pool", "prefork", "-O", "fair", "--without-gossip", "--without-mingle"),
                *("--loglevel", settings.LOGGING["root"]["level"]),
            ]
        )


def _keep_heart(queues: Sequence[str]) -> None:
    """Note now and then that each queue has a worker, however busy its processes are.

    Said by the main process, which only hands out work; the sweep speaks for itself, because it
    shows that beat is alive too.
    """
    served = [queue for queue in queues if queue != Queue.SWEEPS]
    last = 0.0

    def beat(**_: object) -> None:
        nonlocal last
        if time.monotonic() - last < HEARTBEAT_SECONDS:
            return
        last = time.monotonic()
        for queue in served:
            beat_heart(queue)
        # Not to be inherited by the processes that are forked later.
        connection.close()

    heartbeat_sent.connect(beat, weak=False)

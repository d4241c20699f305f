"""The Celery application of workers and beat."""

import logging
import os
import signal

from celery import Celery
from celery.signals import setup_logging, task_prerun, worker_process_init
from celery.utils.log import get_multiprocessing_logger
from django.db import close_old_connections
from kombu.transport.redis import Channel

from hitl_project.parent_death import die_with_parent
from hitl_project.tracing import follow_tasks

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hitl_project.settings")
app = Celery("hitl")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

# Giving back what it has not begun makes a worker die of a lost connection: the channel does it
# when it closes, which by then it cannot. Messages are hints, and the sweep finds what they lost.
Channel.do_restore = False


def _end_with_the_worker(**_: object) -> None:
    die_with_parent(signal.SIGKILL)


# A killed worker would leave its pool behind, at work that another is about to be given.
worker_process_init.connect(_end_with_the_worker)


def _look_at_connections(**_: object) -> None:
    close_old_connections()


# What broke since the last task is closed, so that this one opens another.
task_prerun.connect(_look_at_connections)


follow_tasks()


def _log_like_the_rest(**_: object) -> None:
    pool = get_multiprocessing_logger()
    pool.propagate = True
    pool.setLevel(logging.ERROR)
    app.log.redirect_stdouts("WARNING")


# With a receiver, Celery adds no handlers of its own, whose lines would look like no others.
setup_logging.connect(_log_like_the_rest)

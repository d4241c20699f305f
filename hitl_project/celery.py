"""The Celery application of workers and beat."""

import os
import signal

from celery import Celery
from celery.signals import worker_process_init

from hitl_project.parent_death import die_with_parent

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hitl_project.settings")
app = Celery("hitl")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def _end_with_the_worker(**_: object) -> None:
    die_with_parent(signal.SIGKILL)


# A killed worker would leave its pool behind, at work that another is about to be given.
worker_process_init.connect(_end_with_the_worker)

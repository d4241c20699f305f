"""The settings of the gateway in the tests, with tasks that only tests send."""

from tests.e2e.settings import *  # noqa: F403

CELERY_IMPORTS = ["tests.hitl_project.tasks"]

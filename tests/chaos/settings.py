"""The product's settings, with the graphs of the tests and lost webhooks looked for more often."""

from tests.e2e.settings import *  # noqa: F403
from tests.e2e.settings import CELERY_BEAT_SCHEDULE

CELERY_BEAT_SCHEDULE = {
    **CELERY_BEAT_SCHEDULE,
    "sweep": {**CELERY_BEAT_SCHEDULE["sweep"], "schedule": 2.0},
    "reconcile-linear": {**CELERY_BEAT_SCHEDULE["reconcile-linear"], "schedule": 5.0},
}

"""The queues that workers serve, each its own, so that a slow channel delays nothing else."""

from enum import StrEnum

# How long a hint may wait, so that those which nobody hears do not pile up for ever. Celery
# compares the sender's clock with the worker's: were this short, a clock that is minutes off would
# have every hint thrown away unseen.
HINT_SECONDS = 3600


class Queue(StrEnum):
    """A queue of hints; a worker for it is also what its heartbeat and its metric are named for."""

    RUNS = "runs"
    CHANNELS = "channels"
    SWEEPS = "sweeps"

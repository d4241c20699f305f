"""The queues that workers serve, each its own, so that a slow channel delays nothing else."""

from enum import StrEnum


class Queue(StrEnum):
    """A queue of hints; a worker for it is also what its heartbeat and its metric are named for."""

    RUNS = "runs"
    CHANNELS = "channels"
    SWEEPS = "sweeps"

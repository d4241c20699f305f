"""Tasks for one worker process: what one leaves behind, the next one would log."""

import logging
import warnings

from celery import shared_task

from approvals import trail

log = logging.getLogger(__name__)


@shared_task
def fail(request_id: str) -> None:
    """Fail in the middle of a step, as nobody expected."""
    with trail.step("deliver", request_id=request_id, workflow_id="wf", channel="linear"):
        raise ValueError("This is the failure.")


@shared_task
def work(request_id: str) -> None:
    """Do a step well."""
    with trail.step("deliver", request_id=request_id, workflow_id="wf", channel="linear"):
        log.info("Working")


@shared_task
def idle(number: int) -> None:
    """Say something that is about nothing, each way that a library could."""
    log.info("Idle %d", number, extra={"request": "not for the log", "data": {"args": "neither"}})
    warnings.warn(f"Warning {number}", stacklevel=1)
    print(f"Printed {number}")  # noqa: T201 - libraries do

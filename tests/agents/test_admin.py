"""What staff see of runs and executions."""

import pytest
from django.test import Client

from agents.models import Execution
from approvals.core.lifecycle import Actor
from tests.agents.worker import Worker
from tests.approvals.pages import signed_in
from tests.approvals.scenes import unguarded

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "hunter2-hunter2"


@pytest.fixture
def staff(operator: Actor) -> Client:
    """An operator's browser."""
    return signed_in(operator, staff=True)


def test_no_page_of_a_run_or_its_execution_tells_a_secret(worker: Worker, staff: Client) -> None:
    run = worker.start("task", deploy_token=SECRET, arguments={"version": "v2.5.0"})
    worker.decide(worker.pending(run)[0])
    execution = Execution.objects.get()
    unguarded(
        "agents_execution",
        "execution_is_guarded",
        "UPDATE agents_execution SET action = jsonb_set(action, '{argv}', to_jsonb(%s::text[]))",
        [["deploy", "--key", SECRET]],
    )
    for path in (f"agents/run/{run.pk}", f"agents/execution/{execution.pk}"):
        shown = staff.get(f"/admin/{path}/change/")
        assert shown.status_code == 200
        assert SECRET not in shown.content.decode()
        assert "deploy" in shown.content.decode()

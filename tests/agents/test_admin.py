"""What staff see of runs and executions, and the operator's way out."""

from uuid import uuid4

import pytest
from django.test import Client

from agents.models import Execution, Run
from approvals.core.lifecycle import Actor
from approvals.models import ApprovalRequest, AuditEntry
from tests.agents.rows import execution_row, run_row
from tests.agents.worker import Worker
from tests.approvals.pages import cost, read, signed_in
from tests.approvals.scenes import opened, person, unguarded

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "hunter2-hunter2"
RUNS = "/admin/agents/run/"
EXECUTIONS = "/admin/agents/execution/"


@pytest.fixture
def staff(operator: Actor) -> Client:
    """An operator's browser."""
    return signed_in(operator, staff=True)


def test_no_page_of_a_run_or_its_execution_tells_a_secret(worker: Worker, staff: Client) -> None:
    run = worker.start("task", deploy_token=SECRET, arguments={"version": "v2.5.0"})
    worker.decide(worker.pending(run)[0])
    execution = Execution.objects.get()
    unguarded(
        "UPDATE agents_execution SET action = jsonb_set(action, '{argv}', to_jsonb(%s::text[]))",
        [["deploy", "--key", SECRET]],
    )
    for path in (f"agents/run/{run.pk}", f"agents/execution/{execution.pk}"):
        shown = staff.get(f"/admin/{path}/change/")
        assert shown.status_code == 200
        assert SECRET not in shown.content.decode()
        assert "deploy" in shown.content.decode()


def test_the_pages_of_a_run_and_its_execution_lead_to_each_other_and_to_the_request(
    worker: Worker, staff: Client
) -> None:
    run = worker.start("task", arguments={"version": "v2.5.0"})
    (request,) = worker.pending(run)
    worker.decide(request)
    execution = Execution.objects.get()
    page = read(staff.get(f"{RUNS}{run.pk}/change/"))
    assert {f"/approvals/{request.pk}/", f"{EXECUTIONS}{execution.pk}/change/"} <= set(page.links())
    assert "run.started" in page.text
    assert "Approved" in page.text
    page = read(staff.get(f"{EXECUTIONS}{execution.pk}/change/"))
    assert {f"/approvals/{request.pk}/", f"{RUNS}{run.pk}/change/"} <= set(page.links())
    assert "execution.started" in page.text
    assert execution.digest in page.text
    page = read(staff.get(f"/admin/approvals/approvalrequest/{request.pk}/change/"))
    assert f"{RUNS}{run.pk}/change/" in page.links()


def test_lists_of_runs_and_executions_cost_the_same_queries_at_1_and_at_30_rows(
    staff: Client,
) -> None:
    costs = {RUNS: 9, EXECUTIONS: 8}
    for rows in (1, 29):
        for number in range(rows):
            execution_row(run_row(pr_number=number + 1, github_repo="a/b"))
        assert {address: cost(staff, address) for address in costs} == costs


@pytest.mark.parametrize("executions", [1, 30])
def test_a_run_costs_the_same_queries_however_much_it_began(staff: Client, executions: int) -> None:
    run = run_row()
    for position in range(executions):
        execution_row(run, position)
    assert cost(staff, f"{RUNS}{run.pk}/change/") == 9


def ids(staff: Client, address: str, **query: str) -> set[str]:
    """The ids of the rows that the list shows."""
    return {str(row.pk) for row in staff.get(address, query).context["cl"].result_list}


def test_runs_and_executions_are_found_by_the_identifiers_people_have(staff: Client) -> None:
    ada = person("ada")
    pull = "https://github.com/acme/shop/pull/231"
    facts = {"pr_number": 231, "pr_url": pull, "github_repo": "acme/shop"}
    run = run_row(requested_by="ines", opened_by_id=ada.user_id, **facts)
    other = run_row(requested_by="otto")
    request_id = opened(
        workflow_id=str(run.pk), thread_id=run.thread_id, interrupt_id="i-1", requested_by="ines"
    )
    ApprovalRequest.objects.filter(pk=request_id).update(linear_issue_id="CHEF-271")
    one, two = execution_row(run, 0, request_id), execution_row(run, 1)
    execution_row(other)
    for term in (str(run.pk), str(request_id), "CHEF-271", "ines", "231", "acme/shop#231", pull):
        assert ids(staff, RUNS, q=term) == {str(run.pk)}, term
        assert str(one.pk) in ids(staff, EXECUTIONS, q=term), term
    assert ids(staff, RUNS, q="ADA") == {str(run.pk)}
    assert ids(staff, EXECUTIONS, q=two.key) == {str(two.pk)}
    assert ids(staff, EXECUTIONS, q=str(one.pk)) == {str(one.pk)}
    for term in ("nothing", str(uuid4()), "%"):
        assert ids(staff, RUNS, q=term) == ids(staff, EXECUTIONS, q=term) == set()


def test_a_run_is_not_found_by_what_an_agent_elsewhere_called_its_own_workflow(
    staff: Client,
) -> None:
    run = run_row()
    request_id = opened(workflow_id=str(run.pk), thread_id=run.thread_id)
    assert ids(staff, RUNS, q=str(request_id)) == set()
    page = read(staff.get(f"/admin/approvals/approvalrequest/{request_id}/change/"))
    assert f"{RUNS}{run.pk}/change/" not in page.links()


def test_runs_and_executions_are_filtered(staff: Client) -> None:
    run = run_row(status="needs_attention", workflow="nightly")
    other = run_row(status="failed")
    held, failed = execution_row(run, status="held"), execution_row(other, status="failed")
    assert ids(staff, RUNS, status__exact="needs_attention") == {str(run.pk)}
    assert ids(staff, RUNS, workflow="nightly") == {str(run.pk)}
    assert ids(staff, RUNS, created_at__gte=f"{run.created_at:%Y-%m-%d} 00:00:00+00:00") == {
        *(str(run.pk), str(other.pk))
    }
    assert ids(staff, EXECUTIONS, status__exact="held") == {str(held.pk)}
    assert ids(staff, EXECUTIONS, status__exact="failed") == {str(failed.pk)}


def test_nobody_adds_edits_or_deletes_a_run_or_an_execution_by_hand() -> None:
    client = signed_in(person("root", "operators"), superuser=True)
    run = run_row()
    execution = execution_row(run)
    for place, key in ((RUNS, run.pk), (EXECUTIONS, execution.pk)):
        assert client.get(f"{place}{key}/change/").status_code == 200
        assert client.post(f"{place}{key}/change/", {"status": "completed"}).status_code == 403
        assert client.post(f"{place}add/", {"status": "completed"}).status_code == 403
        assert client.post(f"{place}{key}/delete/", {"post": "yes"}).status_code == 403
        client.post(place, {"action": "delete_selected", "_selected_action": str(key)})
    assert Run.objects.get().status == "running"
    assert Execution.objects.get().status == "started"


def test_output_is_folded_and_cut_and_says_when_it_is_gone(staff: Client) -> None:
    run = run_row()
    execution = execution_row(run, status="succeeded", output="line\n" * 20_000)
    page = read(staff.get(f"{EXECUTIONS}{execution.pk}/change/"))
    assert page.find("details")
    assert "and 60,000 more characters" in page.text
    empty = execution_row(run, 1, status="succeeded")
    Run.objects.update(purged_at=run.created_at)
    assert "Purged" in read(staff.get(f"{EXECUTIONS}{empty.pk}/change/")).text


def offered(client: Client, run: Run) -> set[str]:
    """The actions that the run's page offers."""
    page = read(client.get(f"{RUNS}{run.pk}/change/"))
    return {field.attributes["value"] for field in page.find("input", name="action")}


def test_the_page_of_a_run_offers_the_ways_out_that_one_may_take(staff: Client) -> None:
    ways = {"settle_done", "settle_retry", "settle_abandon"}
    run = run_row(status="needs_attention", attention="Nobody knows.")
    reader = signed_in(person("vera"), staff=True)
    assert offered(staff, run) == ways | {"cancel"}
    assert offered(reader, run) == set()
    assert offered(staff, run_row()) == {"cancel"}
    assert offered(staff, run_row(status="completed")) == set()
    own = run_row(opened_by_id=person("vera").user_id)
    assert offered(reader, own) == {"cancel"}
    assert "Settle as done" not in read(reader.get(RUNS)).text
    assert "Settle as done" in read(staff.get(RUNS)).text


@pytest.mark.parametrize(
    ("action", "words", "status"),
    [
        ("settle_done", "settled as done.", "completed"),
        ("settle_retry", "settled as retry.", "running"),
        ("settle_abandon", "settled as abandon.", "failed"),
        ("cancel", "cancelled.", "cancelled"),
    ],
)
def test_an_operator_gives_the_word_with_a_reason_and_nobody_else_does(
    staff: Client, action: str, words: str, status: str
) -> None:
    run = run_row(status="needs_attention", attention="Nobody knows.")
    pressed = {"action": action, "_selected_action": str(run.pk)}
    asked = read(staff.post(RUNS, pressed))
    assert asked.find("textarea", name="reason")
    empty = read(staff.post(RUNS, {**pressed, "confirmed": "1", "reason": " "}))
    assert "This field is required" in empty.text
    given = {**pressed, "confirmed": "1", "reason": "I looked"}
    refused = signed_in(person("vera"), staff=True).post(RUNS, given, follow=True)
    assert "operator" in read(refused).text
    assert Run.objects.get().status == "needs_attention"
    assert words in read(staff.post(RUNS, given, follow=True)).text
    assert Run.objects.get().status == status
    entry = AuditEntry.objects.filter(stream=run.pk, via="admin").latest("number")
    assert entry.data["reason"] == "I looked"
    again = read(staff.post(RUNS, {**given, "action": "settle_done"}, follow=True))
    assert "only one that needs attention is settled" in again.text


def test_the_first_page_counts_runs_that_need_attention(staff: Client) -> None:
    run_row(status="failed")
    run_row(status="needs_attention")
    page = read(staff.get("/admin/"))
    assert "1 run that needs attention" in page.text
    address = f"{RUNS}?status__exact=needs_attention"
    assert address in page.links()
    assert len(ids(staff, RUNS, status__exact="needs_attention")) == 1

"""A secret of a task is told by nothing that repeats it, on any page, list, answer or message."""

import logging
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.contrib import admin
from django.test import Client
from langgraph.graph import END, START, StateGraph
from pytest_django import Settings

from agents.models import Execution, Run
from agents.standing import need_attention
from approvals import services, spreadsheet
from approvals.core.intake import MAX_WORDS
from approvals.core.lifecycle import Choice, Via
from approvals.masking import MASK
from approvals.models import ApprovalRequest, AuditEntry, Delivery, InboundWebhook
from hitl_project.logs import JsonLines, TextLines
from integrations.github.messages import opened_comment, resolved_comment
from integrations.linear.config import linear_config
from integrations.linear.messages import issue_description, issue_title, outcome_comment
from tests.agents import executors_of_tests as executors
from tests.agents import graphs_of_others as others
from tests.agents.rows import run_row
from tests.agents.worker import Worker
from tests.approvals.pages import signed_in
from tests.approvals.scenes import manager, opened, person

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "hunter2-hunter2"
WORDS = f"say token={SECRET} and go"
TASK = {"deploy_token": SECRET, "description": WORDS, "arguments": {"version": "v2.5.0"}}


@pytest.fixture
def told(worker: Worker) -> list[Run]:
    """Runs and requests in which everything that may repeat the secret does."""
    completed, lost, rejected = (worker.start("task", **TASK) for _ in range(3))
    executors.next_outcomes.append(WORDS)
    worker.decide(worker.pending(completed)[0])
    executors.next_outcomes.append(f"lose {SECRET}")
    worker.decide(worker.pending(lost)[0])
    (asked,) = worker.pending(rejected)
    services.cast_vote(asked.pk, actor=manager("otto"), choice=Choice.REJECT, comment=WORDS)
    worker.turn()
    elsewhere = opened({"operation": "deploy", "environment": "production", **TASK})
    services.cancel_request(elsewhere, actor=person("olga", "operators"), reason=WORDS)
    foreign = run_row(task=TASK, graph="others", steps=[])
    need_attention(foreign.pk, WORDS)
    Run.objects.update(last_error=WORDS)
    for row in ApprovalRequest.objects.all():
        Delivery.objects.update_or_create(
            request=row,
            channel="linear",
            defaults={"last_error": WORDS, "memory": {"kept": WORDS}, "wanted": 1, "attempts": 1},
        )
        for body in (f'{{"text": "{WORDS}"}}', f'["{WORDS}"', f'["{WORDS}"]'):
            one = str(uuid4())
            given = {"source": "linear", "delivery_id": one, "body_digest": one, "body": body}
            InboundWebhook.objects.create(request=row, reason=WORDS, **given)
    for delivery in Delivery.objects.filter(channel="linear"):
        services.retry_delivery(delivery.pk, actor=person("olga", "operators"), reason=WORDS)
    return [completed, lost, rejected, foreign]


def told_by(client: Client, address: str) -> str:
    """What an address answers."""
    answer = client.get(address)
    assert answer.status_code == 200, address

    return str(answer.getvalue().decode())


def desk() -> Iterator[str]:
    """The pages for people, and what an action printed."""
    yield from ("/", "/history/", "/runs/", "/insights/", "/?q=deploy")
    yield from (f"/approvals/{pk}/" for pk in ApprovalRequest.objects.values_list("pk", flat=True))
    yield from (f"/runs/{pk}/" for pk in Run.objects.values_list("pk", flat=True))
    for execution in Execution.objects.all():
        yield f"/runs/{execution.run_id}/output/{execution.pk}/"


def admin_pages() -> Iterator[str]:
    """Every list of the admin, and the page of every row in it."""
    for model in admin.site._registry:  # noqa: SLF001 - the admin has no other list of them
        place = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        yield place
        yield from (f"{place}{row.pk}/change/" for row in model._default_manager.all())


def api_answers() -> Iterator[str]:
    """Every answer of the API about a request or a run."""
    yield "/api/approvals"
    yield from (f"/api/approvals/{row.pk}" for row in ApprovalRequest.objects.all())
    yield from (f"/api/workflows/{row.pk}" for row in Run.objects.all())


@pytest.mark.parametrize("addresses", [desk, admin_pages, api_answers])
def test_no_page_tells_a_secret(told: list[Run], addresses: Any) -> None:
    root = person("root", "operators", "release-managers")
    client = signed_in(root, superuser=True)
    if addresses is api_answers:
        token = services.create_token("root", scope="decide")
        client = Client(headers={"Authorization": f"Bearer {token}"})
    shown = {address: told_by(client, address) for address in addresses()}
    assert [address for address, text in shown.items() if SECRET in text] == []
    assert any(MASK in text or "\\u2022" in text for text in shown.values())


def test_an_action_that_prints_a_secret_is_told_of_without_it(told: list[Run]) -> None:
    client = signed_in(person("root", "operators"), superuser=True)
    execution = Execution.objects.get(run=told[0])
    assert SECRET in execution.output
    request = f"/approvals/{execution.request_id}/"
    for address in (request, f"/admin/agents/execution/{execution.pk}/change/"):
        assert f"token={MASK} and go" in told_by(client, address), address


def test_a_secret_at_the_end_of_what_is_kept_is_not_told_by_its_beginning() -> None:
    run = run_row(task=TASK, graph="others", steps=[])
    need_attention(run.pk, "x" * (MAX_WORDS - 7) + SECRET)
    run.refresh_from_db()
    entry = AuditEntry.objects.get(stream=run.pk)
    assert [text for text in (run.attention, str(entry.data)) if SECRET[:5] in text] == []


def test_no_message_or_spreadsheet_tells_a_secret(told: list[Run]) -> None:
    assert SECRET not in spreadsheet.lines(ApprovalRequest.objects.all())
    config = linear_config()
    for row in ApprovalRequest.objects.all():
        request = row.snapshot()
        texts = [issue_title(request, config), issue_description(request, config)]
        texts += [outcome_comment(request, Via.WEB), opened_comment(request)]
        texts.append(resolved_comment(request, alone=True))
        assert [text for text in texts if SECRET in text] == []


def test_what_a_run_writes_into_the_log_holds_no_secret_of_its_task(
    worker: Worker, told: list[Run], caplog: pytest.LogCaptureFixture
) -> None:
    entries = AuditEntry.objects.filter(name__startswith="execution.")
    written = [*entries, *AuditEntry.objects.filter(name__startswith="run.")]
    assert [entry.name for entry in written if SECRET in str(entry.data)] == []
    with caplog.at_level(logging.INFO):
        run = run_row(task=TASK)
        need_attention(run.pk, WORDS)
    assert SECRET not in " ".join(str(vars(record)) for record in caplog.records)


def repeats_its_task() -> others.Graph:
    """Fails with what it was told, as libraries do with what they were given."""

    def fail(state: others.State) -> dict[str, Any]:
        try:
            raise KeyError(WORDS)
        except KeyError as error:
            raise ValueError(f"no access with {SECRET}") from error

    graph: others.Graph = StateGraph(others.State)
    graph.add_node("fail", fail)
    graph.add_edge(START, "fail")
    graph.add_edge("fail", END)
    return graph


def test_the_traceback_of_a_graph_that_fails_holds_no_secret_of_its_task(
    worker: Worker, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.HITL_GRAPHS = {"tells": (f"{__name__}.repeats_its_task", "1")}
    run = worker.start("tells", **TASK)
    assert run.status == "needs_attention"
    for lines in (JsonLines(), TextLines()):
        logged = [lines.format(record) for record in caplog.records if record.levelname == "ERROR"]
        (told,) = [line for line in logged if "stopped inside its graph" in line]
        assert SECRET not in told
        assert "raise ValueError" in told
        assert "KeyError" in told

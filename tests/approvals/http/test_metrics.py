"""The lifecycle metrics: exact, from the tables, whoever decided and in whatever way."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)

from approvals import services
from approvals.audit import SYSTEM
from approvals.core.risk import Risk
from approvals.metrics import BUCKETS_SECONDS
from tests.approvals.http.gateway import DELETE, MIGRATE, Api, People
from tests.approvals.scenes import pass_deadline, unguarded
from tests.metrics_page import Page
from tests.web_server import WebServer


def total(page: Page, name: str) -> float:
    """The sum over all labels."""
    return sum(page.all(name).values())


def test_without_any_request_the_backlog_is_zero_at_every_level(db: None) -> None:
    page = Page.scrape()
    for risk in Risk:
        assert page.value("hitl_approval_backlog_total", risk_level=risk) == 0


def test_every_way_to_end_counts_once(api: Api, people: People) -> None:
    ways = ("approved", "rejected", "expired", "cancelled", "superseded", "pending")
    ids = {way: api.open(people.agent) for way in ways}
    api.call(people.ana, "POST", f"/approvals/{ids['approved']}/approve")
    api.call(people.ben, "POST", f"/approvals/{ids['approved']}/approve")
    api.call(people.ana, "POST", f"/approvals/{ids['rejected']}/reject", {"reason": "no"})
    api.call(people.agent, "POST", f"/approvals/{ids['cancelled']}/cancel", {"reason": "no"})
    services.supersede_request(UUID(ids["superseded"]), actor=SYSTEM, reason="changed")
    pass_deadline(UUID(ids["expired"]))
    services.expire_overdue()
    services.expire_overdue()
    page = Page.scrape()
    for way in ways[:-1]:
        labels = {"agent": "cicd", "risk_level": "critical", "status": way}
        assert page.value("hitl_approval_requests_resolved_total", **labels) == 1
        assert page.value("hitl_approval_latency_seconds_count", **labels) == 1
    created = {"agent": "cicd", "risk_level": "critical", "environment": "production"}
    assert page.value("hitl_approval_requests_created_total", **created) == 6
    assert page.value("hitl_approval_timeouts_total", agent="cicd", risk_level="critical") == 1
    assert page.value("hitl_approval_backlog_total", risk_level="critical") == 1


def test_a_vote_after_the_deadline_counts_one_timeout(api: Api, people: People) -> None:
    request_id = api.open(people.agent)
    pass_deadline(UUID(request_id))
    api.call(people.ana, "POST", f"/approvals/{request_id}/approve")
    services.expire_overdue()
    page = Page.scrape()
    assert page.value("hitl_approval_timeouts_total", agent="cicd", risk_level="critical") == 1
    assert total(page, "hitl_approval_requests_resolved_total") == 1


def test_label_sets_that_occur_start_at_zero_for_every_status(api: Api, people: People) -> None:
    api.open(people.agent, MIGRATE)
    page = Page.scrape()
    labels = {"agent": "cicd", "risk_level": "medium"}
    for status in ("approved", "rejected", "expired", "cancelled", "superseded"):
        assert page.value("hitl_approval_requests_resolved_total", **labels, status=status) == 0
    assert page.value("hitl_approval_timeouts_total", **labels) == 0


def test_created_is_resolved_and_waiting_together(api: Api, people: People) -> None:
    for task in (MIGRATE, DELETE, MIGRATE):
        request_id = api.open(people.agent, task, agent_name="infrastructure")
    api.call(people.ana, "POST", f"/approvals/{request_id}/reject", {"reason": "no"})
    page = Page.scrape()
    assert total(page, "hitl_approval_requests_created_total") == 3
    assert (
        total(page, "hitl_approval_requests_resolved_total")
        + total(page, "hitl_approval_backlog_total")
        == 3
    )


@pytest.mark.parametrize("seconds", [12, 30, 45, 5000, 100_000])
def test_the_latency_falls_into_its_buckets(api: Api, people: People, seconds: int) -> None:
    request_id = api.open(people.agent)
    api.call(people.ana, "POST", f"/approvals/{request_id}/approve")
    unguarded(
        "UPDATE approval_requests SET decided_at = created_at + make_interval(secs => %s)",
        [seconds],
    )
    page = Page.scrape()
    labels = {"agent": "cicd", "risk_level": "critical", "status": "approved"}
    found = {
        bound: page.value("hitl_approval_latency_seconds_bucket", **labels, le=bound)
        for bound in [*(str(float(bound)) for bound in BUCKETS_SECONDS), "+Inf"]
    }
    assert BUCKETS_SECONDS == (30, 60, 300, 600, 1800, 3600, 7200, 14400, 28800, 86400)
    assert found == {bound: float(seconds <= float(bound)) for bound in found}
    assert page.value("hitl_approval_latency_seconds_sum", **labels) == seconds


def test_what_was_rolled_back_is_not_counted(api: Api, people: People) -> None:
    api.open(people.agent)
    with transaction.atomic():
        api.open(people.agent)
        assert total(Page.scrape(), "hitl_approval_requests_created_total") == 2
        transaction.set_rollback(True)
    assert total(Page.scrape(), "hitl_approval_requests_created_total") == 1


def test_a_scrape_asks_as_often_however_many_requests_there_are(api: Api, people: People) -> None:
    def statements() -> int:
        with CaptureQueriesContext(connection) as queries:
            Page.scrape()
        return len(queries)

    api.open(people.agent)
    Page.scrape()
    once = statements()
    for number in range(10):
        api.open(people.agent, agent_name=f"agent-{number % 3}")
    Page.scrape()
    assert statements() == once


def test_openmetrics_is_served_where_it_is_asked_for(api: Api, people: People) -> None:
    request_id = api.open(people.agent)
    api.call(people.ana, "POST", f"/approvals/{request_id}/approve")
    accept = "application/openmetrics-text; version=1.0.0"
    response = Client().get("/metrics", headers={"Accept": accept})
    assert response["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    text = response.content.decode()
    families = openmetrics_families(text)  # type: ignore[no-untyped-call]
    names = {family.name for family in families}
    assert {
        "hitl_approval_requests_created",
        "hitl_approval_requests_resolved",
        "hitl_approval_latency_seconds",
        "hitl_approval_backlog_total",
        "hitl_approval_timeouts",
    } <= names


def test_django_prometheus_s_own_metrics_are_there_too(db: None) -> None:
    Client().get("/healthz")
    names = {name for name, _ in Page.scrape().samples}
    assert {
        "django_http_requests_before_middlewares_total",
        "django_http_responses_before_middlewares_total",
    } <= names


def test_the_processes_of_a_web_server_count_together(
    launch_web_server: Callable[..., WebServer], committed_people: People, tmp_path: Path
) -> None:
    server = launch_web_server(2, TMPDIR=str(tmp_path))
    login, metrics = f"{server.url}/accounts/login/", f"{server.url}/metrics"

    def ask(address: str) -> httpx.Response:
        # A connection of its own, which either of the processes may take.
        return httpx.get(address, trust_env=False).raise_for_status()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, [login] * 80))
        pages = [Page(page.text) for page in pool.map(ask, [metrics] * 16)]
    counted = "django_http_responses_total_by_status_view_method_total"
    labels = {"status": "200", "view": "login", "method": "GET"}
    assert [page.value(counted, **labels) for page in pages] == [80] * 16
    backlogs = {page.value("hitl_approval_backlog_total", risk_level="low") for page in pages}
    assert backlogs == {0}
    assert list(tmp_path.glob("hitl-web-metrics-*/counter_*.db"))
    assert server.stop() == 0
    assert list(tmp_path.glob("hitl-web-metrics-*")) == []

"""Who asks chooses the names; how many of them become labels has a bound, and none ever moves."""

from datetime import timedelta

import pytest

from approvals import metrics
from approvals.metrics.labels import OTHER
from approvals.models import ApprovalRequest, MetricLabel
from approvals.policy import literal_environments
from tests.approvals.history import fill
from tests.approvals.scenes import at_once, opened
from tests.metrics_page import Page

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("channels")]
CREATED = "hitl_approval_requests_created_total"
ROSTER = {"supervisor", "feature_dev", "infrastructure", "cicd", "code_review", "documentation"}


def agents(page: Page) -> set[str]:
    """The agents that are told apart."""
    return {labels["agent"] for labels in page.names(CREATED)}


def environments(page: Page) -> set[str]:
    """The environments that are told apart."""
    return {labels["environment"] for labels in page.names(CREATED)}


def unnamed(page: Page) -> float:
    """How many requests count under no agent's name."""
    return sum(number for kind, number in page.all(CREATED).items() if kind[0] == OTHER)


def test_what_is_known_beforehand_starts_at_zero_at_every_risk() -> None:
    page = Page.scrape()
    assert agents(page) == ROSTER
    assert environments(page) == {*literal_environments(), "none"}
    assert {"production", "staging", "development"} <= environments(page)
    for risk in ("low", "medium", "high", "critical"):
        known = {"agent": "cicd", "risk_level": risk}
        assert page.value(CREATED, **known, environment="staging") == 0
        assert page.value("hitl_approvals_pending", **known, environment="staging") == 0
        assert page.value("hitl_approval_timeouts_total", **known) == 0
        ended = page.value("hitl_approval_requests_resolved_total", **known, status="approved")
        assert ended == 0


def test_a_latency_is_there_at_zero_before_anybody_has_asked() -> None:
    page = Page.scrape()
    for status in ("approved", "rejected", "expired", "cancelled", "superseded"):
        kind = {"agent": "cicd", "risk_level": "critical", "status": status}
        assert page.value("hitl_approval_latency_seconds_count", **kind) == 0
        assert page.value("hitl_approval_latency_seconds_bucket", **kind, le="30.0") == 0


def test_twenty_agents_and_ten_environments_keep_their_names_in_order_of_appearance() -> None:
    for number in (*range(11, 20), *range(10, -1, -1), *range(20, 30)):
        opened(
            {"operation": "deploy", "environment": f"env-{number:02}"},
            agent_name=f"agent-{number:02}",
        )
    page = Page.scrape()
    first = [11, 12, 13, 14, 15, 16, 17, 18, 19, 10, 9, 8, 7, 6]
    assert agents(page) == {*ROSTER, *(f"agent-{number:02}" for number in first), OTHER}
    kept = first[: 10 - len(literal_environments())]
    named = {f"env-{number:02}" for number in kept}
    assert environments(page) == {*literal_environments(), *named, "none", OTHER}
    found = page.all(CREATED)
    assert sum(found.values()) == 30
    assert found[OTHER, OTHER, "high"] == 30 - len(first)


@pytest.mark.parametrize("scraped_first", [True, False])
def test_a_scrape_and_a_roll_up_give_the_same_names(scraped_first: bool) -> None:
    fill(300, agents=tuple(f"past-{number:02}" for number in range(30)))
    # What waits was opened before any of those, by somebody who has decided nothing.
    fill(1, ago=timedelta(days=9), agents=("patient",), statuses=("pending",))
    before = Page.scrape() if scraped_first else None
    metrics.roll_up(seconds=5, rows=20)
    after = Page.scrape()
    assert "patient" in agents(after)
    assert len(agents(after)) == 21
    assert before is None or before.all(CREATED) == after.all(CREATED)
    assert sum(after.all(CREATED).values()) == 301


def test_once_a_name_is_other_it_stays_other() -> None:
    fill(200, agents=tuple(f"past-{number:02}" for number in range(20)))
    first = Page.scrape()
    late = {name for name in (f"past-{n:02}" for n in range(20)) if name not in agents(first)}
    assert len(late) == 6
    # One that was opened long before all others, and is committed only now.
    fill(3, ago=timedelta(days=300), agents=("ancient",))
    second = Page.scrape()
    assert agents(second) == agents(first)
    others = [
        sum(n for kind, n in p.all(CREATED).items() if kind[0] == OTHER) for p in (first, second)
    ]
    assert others[1] == others[0] + 3


def test_ten_thousand_agents_make_no_large_page_and_none_is_lost() -> None:
    fill(
        10_000,
        agents=tuple(f"made-up-{number}" for number in range(10_000)),
        environments=tuple(f"place-{number}" for number in range(3_000)),
        statuses=("pending", "approved", "cancelled"),
    )
    for _ in range(2):
        page = Page.scrape()
        assert sum(page.all(CREATED).values()) == 10_000
        pending = ApprovalRequest.objects.filter(status="pending").count()
        assert sum(page.all("hitl_approvals_pending").values()) == pending
        assert len(agents(page)) == 21
        assert len(environments(page)) == 12
        assert sum(name.startswith("hitl_approval") for name, _ in page.samples) < 8000
        metrics.roll_up(seconds=20)
    assert MetricLabel.objects.count() == 30


def test_scrapes_at_the_same_time_keep_the_same_names() -> None:
    fill(100, agents=tuple(f"past-{number:02}" for number in range(25)))
    pages = at_once(*[Page.scrape] * 4)
    assert {frozenset(agents(page)) for page in pages} == {frozenset(agents(Page.scrape()))}
    assert MetricLabel.objects.filter(label="agent").count() == 20


def test_a_name_with_a_line_break_is_other_so_that_every_dashboard_finds_it() -> None:
    opened({"operation": "deploy", "environment": "pro\nduction"}, agent_name="ev\nil")
    opened(agent_name="direction\u202eless")
    found = Page.scrape().all(CREATED)
    assert found == {
        (OTHER, OTHER, "critical"): 1,
        (OTHER, "production", "critical"): 1,
    }


def test_no_environment_is_none_and_odd_names_are_quoted() -> None:
    odd = 'a "quoted" name \\ with a tab'
    opened({"operation": "deploy"}, agent_name=odd)
    opened({"operation": "deploy", "environment": "none"}, agent_name="other")
    found = Page.scrape().all(CREATED)
    assert found == {(odd, "none", "high"): 1, ("other", "none", "high"): 1}

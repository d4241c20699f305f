"""What waits, what is owed and who is at work, by the database's clock."""

import platform
import tomllib
from pathlib import Path
from uuid import UUID

import pytest
from django.db import connection

from approvals import outbox, services
from approvals.clock import clock
from approvals.models import AuditEntry, Delivery
from approvals.selectors.request import get_snapshot
from tests.approvals.scenes import (
    DEPLOY,
    delivery,
    manager,
    opened,
    pass_deadline,
    reject,
    unguarded,
    vote,
)
from tests.metrics_page import Page

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]
RISKS = ("low", "medium", "high", "critical")
OLDEST = "hitl_approval_oldest_pending_age_seconds"
SOON = "hitl_approvals_expiring_within_hour"
AGE = "hitl_delivery_oldest_owed_age_seconds"


def move(request_id: UUID, column: str, seconds: float) -> None:
    """Let a moment of a request lie so many seconds from now."""
    moved = f"SET {column} = clock_timestamp() + make_interval(secs => %s)"
    unguarded(
        "UPDATE approval_requests " + moved + " WHERE id = %s",
        [seconds, request_id],
    )


def happened(request_id: UUID, name: str, seconds_ago: float) -> None:
    """Let an audit entry of a request be so old."""
    unguarded(
        "UPDATE approvals_auditentry SET at = clock_timestamp() - make_interval(secs => %s)"
        " WHERE stream = %s AND name = %s",
        [seconds_ago, request_id, name],
    )


def age(channel: str) -> float:
    """How long the channel has been owed something."""
    found = Page.scrape().value(AGE, channel=channel)
    assert found is not None
    return found


def test_without_anything_every_gauge_is_zero() -> None:
    page = Page.scrape()
    for risk in RISKS:
        for name in (OLDEST, SOON, "hitl_approval_backlog_total"):
            assert page.value(name, risk_level=risk) == 0
    for channel in ("linear", "github", "workflow", "chat"):
        for name in (AGE, "hitl_deliveries_owed", "hitl_deliveries_given_up"):
            assert page.value(name, channel=channel) == 0
    for part in ("sweeps", "runs", "channels"):
        assert page.value("hitl_heartbeat_timestamp_seconds", part=part) == 0


def test_the_oldest_that_waits_gives_the_age_of_its_risk() -> None:
    old, young, final = opened(), opened(), opened()
    move(old, "created_at", -5000)
    move(young, "created_at", -100)
    move(final, "created_at", -90_000)
    vote(final)
    page = Page.scrape()
    assert page.value(OLDEST, risk_level="critical") == pytest.approx(5000, abs=20)
    assert page.value(OLDEST, risk_level="high") == 0
    vote(old)
    assert Page.scrape().value(OLDEST, risk_level="critical") == pytest.approx(100, abs=20)


def test_what_waits_is_told_apart_by_agent_risk_and_environment() -> None:
    opened()
    opened()
    opened({"operation": "deploy"}, agent_name="nightly")
    found = Page.scrape().all("hitl_approvals_pending")
    assert found == {
        ("cicd", "production", "critical"): 2,
        ("nightly", "none", "high"): 1,
    }


def test_only_what_can_still_be_decided_and_expires_within_the_hour_counts_as_such() -> None:
    soon, later, over = opened(), opened(), opened()
    move(soon, "expires_at", 3500)
    move(later, "expires_at", 3700)
    pass_deadline(over)
    assert Page.scrape().value(SOON, risk_level="critical") == 1


def test_past_its_deadline_a_request_waits_until_it_is_expired_in_the_table() -> None:
    pass_deadline(opened())
    kind = {"agent": "cicd", "risk_level": "critical"}
    page = Page.scrape()
    assert page.value("hitl_approval_backlog_total", risk_level="critical") == 1
    assert page.value("hitl_approval_timeouts_total", **kind) == 0
    services.expire_overdue()
    page = Page.scrape()
    assert page.value("hitl_approval_backlog_total", risk_level="critical") == 0
    assert page.value("hitl_approval_timeouts_total", **kind) == 1


def test_owed_and_given_up_deliveries_are_told_apart() -> None:
    first, second, third = (opened(interrupt_id=f"i-{number}") for number in range(3))
    Delivery.objects.filter(request=first, channel="linear").update(gave_up_at=clock())
    Delivery.objects.filter(request=second, channel="linear").update(done=1)
    page = Page.scrape()
    assert page.value("hitl_deliveries_given_up", channel="linear") == 1
    assert page.value("hitl_deliveries_owed", channel="linear") == 1
    assert page.value("hitl_deliveries_owed", channel="github") == 0
    assert page.value("hitl_deliveries_owed", channel="workflow") == 0
    vote(third)
    assert Page.scrape().value("hitl_deliveries_owed", channel="workflow") == 1


def test_owed_is_owed_since_the_oldest_event_that_the_channel_was_not_told() -> None:
    request_id = opened(interrupt_id="i", pr_number=7, github_repo="acme/shop")
    happened(request_id, "request.opened", 4000)
    assert age("linear") == pytest.approx(4000, abs=20)
    assert outbox.deliver_next("linear")
    assert age("linear") == 0
    reject(request_id, manager("grace"), "no")
    happened(request_id, "request.rejected", 700)
    happened(request_id, "vote.cast", 700)
    # Failures push the next attempt into the future; it is owed all the same, and as long.
    Delivery.objects.filter(request=request_id).update(attempts=9, not_before="2100-01-01T00:00Z")
    assert age("linear") == pytest.approx(700, abs=20)
    assert age("workflow") == pytest.approx(700, abs=20)
    assert age("github") == pytest.approx(4000, abs=20)


def test_owed_without_an_event_is_owed_since_it_failed_first() -> None:
    request_id = opened()
    happened(request_id, "request.opened", 4000)
    assert outbox.deliver_next("linear")
    outbox.nudge(request_id, "linear")
    assert age("linear") < 20
    row = delivery(request_id, "linear")
    AuditEntry.objects.create(
        stream=request_id,
        number=row.told + 50,
        name="delivery.failed",
        data={"channel": "linear"},
        at=clock(),
    )
    happened(request_id, "delivery.failed", 900)
    Delivery.objects.filter(pk=row.pk).update(not_before="2100-01-01T00:00Z")
    assert age("linear") == pytest.approx(900, abs=20)


def test_a_run_that_went_on_with_its_verdict_is_not_kept_waiting_by_its_own_action() -> None:
    request_id = opened(interrupt_id="i")
    reject(request_id, manager("grace"), "no")
    happened(request_id, "request.rejected", 700)
    happened(request_id, "vote.cast", 700)
    assert age("workflow") == pytest.approx(700, abs=20)
    outbox.note_resumed(get_snapshot(request_id))
    assert age("workflow") == 0
    assert Page.scrape().value("hitl_deliveries_owed", channel="workflow") == 1
    # The action ended badly and the delivery failed: now it waits to be tried again.
    Delivery.objects.filter(request=request_id, channel="workflow").update(attempts=1)
    assert age("workflow") == pytest.approx(700, abs=20)


def test_what_was_given_up_ages_no_more() -> None:
    request_id = opened()
    happened(request_id, "request.opened", 4000)
    Delivery.objects.filter(request=request_id).update(gave_up_at=clock())
    assert age("linear") == 0


def test_a_channel_that_is_switched_off_is_owed_nothing() -> None:
    request_id = opened(DEPLOY)
    Delivery.objects.filter(request=request_id, channel="linear").update(channel="pigeon")
    assert "pigeon" not in {n["channel"] for n in Page.scrape().names("hitl_deliveries_owed")}


def test_a_heartbeat_is_the_time_at_which_the_part_was_last_seen() -> None:
    services.beat_heart("sweeps")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE approvals_heartbeat SET seen_at = '2026-01-02 03:04:05+00'")
    page = Page.scrape()
    assert page.value("hitl_heartbeat_timestamp_seconds", part="sweeps") == 1_767_323_045
    assert page.value("hitl_heartbeat_timestamp_seconds", part="runs") == 0


def test_the_build_is_the_version_that_the_project_states() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    labels = {"version": project["version"], "python_version": platform.python_version()}
    assert Page.scrape().value("hitl_build_info", **labels) == 1

"""An hour of traffic, led in seconds, that ends with every kind of trouble but two."""

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hitl_project.embedded import SUPERUSER
from tests.e2e.gateway import new_label
from tests.e2e.prometheus import STEP_SECONDS, Labels, Past, Prometheus, labels
from tests.e2e.stack import Stack, soon
from tests.e2e.traffic import Kind, Traffic
from tests.e2e.watched import Watched
from tests.sandbox_process import REPOSITORY

STUCK_SECONDS = 2400
# NoApprovalsResolved compares with what was known between two and three hours ago.
LONG_AGO_SECONDS = 9000
EXPIRING_MINUTE, EXPIRING = 30, 6
FAILING_MINUTE = 40

RISKS = ("low", "medium", "high", "critical")

# What happens in which minute of the hour: what is asked for, how it ends, how long that took.
STAGING: Kind = ("infrastructure", "terraform_apply", "staging")
MIGRATION: Kind = ("feature_dev", "db_migrate", "production")
DEPLOY: Kind = ("cicd", "deploy", "production")
ROLLBACK: Kind = ("cicd", "rollback", "production")
PLAN: dict[int, list[tuple[Kind, str, float]]] = {minute: [] for minute in range(1, 61)}
for _minute in range(3, 61, 3):  # 20 approvals: 14 at once, 4 after 20 minutes, 2 after 90
    _took = {0: 40.0, 1: 1200.0, 2: 5400.0}[(_minute > 42) + (_minute > 54)]
    PLAN[_minute].append((STAGING, "approved", _took))
for _minute in range(2, 30, 2):  # 14 rejections
    PLAN[_minute].append((MIGRATION, "rejected", 40.0))
for _minute in (35, 45):
    PLAN[_minute].append((ROLLBACK, "cancelled", 40.0))
for _minute in range(5, 25):  # 40 that wait, too few at a time for a burst
    PLAN[_minute] += [(ROLLBACK, "waits", 0.0)] * 2
PLAN[20].append((DEPLOY, "stuck", STUCK_SECONDS))


@dataclass(frozen=True)
class Hour:
    """An hour of traffic as Prometheus remembers it, and what it has to know at its end."""

    prometheus: Prometheus
    end: float
    traffic: Traffic
    stuck: str
    pending: int
    pending_of: Counter[str]
    pending_at: Counter[str]
    expiring: int

    def panels(self) -> dict[str, list[dict[Labels, Any]]]:
        """What each panel has to show of it, one answer for each of its queries."""
        nothing = labels()
        return {
            "Queue overview": [
                {nothing: self.pending},
                {nothing: self.expiring},
                {nothing: pytest.approx(STUCK_SECONDS, abs=120)},
            ],
            "Critical backlog": [{nothing: self.pending_at["critical"]}],
            "Approval rate (last hour)": [{nothing: 20 / 40}],
            "p95 latency": [{nothing: 5400}],
            "Backlog by risk": [{labels(risk_level=risk): self.pending_at[risk] for risk in RISKS}],
            "Latency percentiles p50/p95/p99": [
                {nothing: pytest.approx(30 + 30 * 10 / 14)},
                {nothing: 5400},
                {nothing: pytest.approx(6840)},
            ],
            "Outcomes": [
                {
                    labels(status="approved"): 20,
                    labels(status="rejected"): 14,
                    labels(status="expired"): EXPIRING,
                }
            ],
            "Requests by agent": [
                {
                    labels(agent="infrastructure"): 20,
                    labels(agent="feature_dev"): 14 + EXPIRING,
                    labels(agent="cicd"): 2 + 40 + 1 + 1,
                }
            ],
            "Timeout rate": [{nothing: pytest.approx(EXPIRING / 42)}],
            "Creation rate": [
                {
                    labels(risk_level="low"): 0,
                    labels(risk_level="medium"): 0,
                    labels(risk_level="high"): 83,
                    labels(risk_level="critical"): 1,
                }
            ],
            "Resolution rate": [
                {
                    labels(status="approved"): 20,
                    labels(status="rejected"): 14,
                    labels(status="expired"): EXPIRING,
                    labels(status="cancelled"): 2,
                    labels(status="superseded"): 0,
                }
            ],
        }


def lead_hour(watched: Watched, traffic: Traffic, folder: Path) -> Hour:
    """Lead the hour that ends now, scraped four times a minute, and start a Prometheus over it."""
    end = float(int(time.time()) // STEP_SECONDS * STEP_SECONDS)
    stuck = _lead(watched, traffic, folder, end)
    file = folder / "prometheus.yml"
    file.write_text("global: {}\n")
    waiting = watched.count(
        "SELECT agent_name, risk_level, count(*) FROM approval_requests"
        " WHERE status = 'pending' GROUP BY 1, 2"
    )
    pending_of: Counter[str] = Counter()
    pending_at: Counter[str] = Counter()
    for (agent, risk), number in waiting.items():
        pending_of[agent] += number
        pending_at[risk] += number
    (soon_over,) = watched.gateway.stack.rows(
        "SELECT count(*) AS number FROM approval_requests"
        " WHERE status = 'pending' AND expires_at < clock_timestamp() + interval '1 h'"
    )
    return Hour(
        Prometheus.start(folder, file),
        end,
        traffic,
        stuck,
        waiting.total(),
        pending_of,
        pending_at,
        soon_over["number"],
    )


def _lead(watched: Watched, traffic: Traffic, folder: Path, end: float) -> str:
    """Lead the hour before `end`; the id of the critical request that got stuck in it."""
    stack, start = watched.gateway.stack, end - 3600
    past, stuck = Past(), ""
    past.scrape(watched.urls, [end - LONG_AGO_SECONDS, start])
    for minute in range(1, 61):
        for kind, how, took_seconds in PLAN[minute]:
            request_id = traffic.open(*kind)
            _backdate(stack, request_id, took_seconds)
            traffic.end(request_id, how)
            if how == "stuck":
                stuck = request_id
        if minute == EXPIRING_MINUTE:
            _let_expire(watched, traffic)
        if minute == FAILING_MINUTE:
            _fail_delivery(watched)
        moments = [start + 60 * minute - back for back in (45, 30, 15, 0)]
        past.scrape(watched.urls, moments)
    past.write(folder)
    return stuck


def _backdate(stack: Stack, request_id: str, seconds: float) -> None:
    """Let a request have been opened so long ago, as nobody but the database's owner could."""
    with stack.connection(SUPERUSER) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "UPDATE approval_requests SET created_at = created_at - interval '1 s' * %s"
            " WHERE id = %s",
            [seconds, request_id],
        )


def _let_expire(watched: Watched, traffic: Traffic) -> None:
    """Open what expires after two seconds, and wait until a sweep has said so."""
    before = watched.standing("expired")
    for _ in range(EXPIRING):
        traffic.open("feature_dev", "brief", "production")
    soon(lambda: watched.standing("expired") == before + EXPIRING, "what nobody decides expires")


def _fail_delivery(watched: Watched) -> None:
    """Open a request about a pull request that GitHub does not know."""
    name = new_label()
    url = f"https://github.com/{REPOSITORY}/pull/99999"
    body = {
        "workflow_id": name,
        "thread_id": name,
        "agent_name": "cicd",
        "task": {"operation": "rollback", "environment": "production"},
        "pr_number": 99999,
        "pr_url": url,
        "github_repo": REPOSITORY,
    }
    answer = watched.gateway.call("rosa", "POST", "/approvals", body)
    assert answer.status_code == 201, answer.text
    watched.gateway.stack.wait_for_row(
        "SELECT 1 FROM approvals_delivery WHERE channel = 'github' AND gave_up_at IS NOT NULL"
    )

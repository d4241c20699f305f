"""An hour of traffic, led in seconds, that ends with every kind of trouble but two."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from hitl_project.embedded import SUPERUSER
from tests.e2e.gateway import new_label
from tests.e2e.prometheus import Past, Prometheus
from tests.e2e.stack import Stack, soon
from tests.e2e.traffic import Traffic
from tests.e2e.watched import Watched
from tests.sandbox_process import REPOSITORY

STUCK_SECONDS = 2400
EXPIRING_MINUTE, EXPIRING = 30, 6
FAILING_MINUTE = 40

# What happens in which minute of the hour: what is asked for, how it ends, how long that took.
Kind = tuple[str, str, str]
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


def lead_hour(watched: Watched, traffic: Traffic, folder: Path, end: float) -> str:
    """Lead the hour before `end`; the id of the critical request that got stuck in it."""
    stack, start = watched.gateway.stack, end - 3600
    past, stuck = Past(), ""
    past.scrape(watched.urls, [start])
    for minute in range(1, 61):
        for kind, how, took_seconds in PLAN.get(minute, ()):
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

"""Hundreds of requests that open, are decided, expire or wait, on two web servers at once."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import cycle, islice
from threading import Lock
from typing import Any

import httpx

from tests.e2e.gateway import Gateway, new_label

# What is asked for, and how often; nothing here needs two people.
Kind = tuple[str, str, str]
KINDS: Sequence[Kind] = (
    ("cicd", "deploy", "production"),
    ("cicd", "rollback", "production"),
    ("infrastructure", "terraform_apply", "staging"),
    ("infrastructure", "db_migrate", "staging"),
    ("feature_dev", "db_migrate", "production"),
    ("night-shift", "db_migrate", "development"),
)
ENDS = ("approved",) * 9 + ("rejected",) * 4 + ("cancelled",) * 2 + ("expired",) * 2
WAITING = ("pending",) * 3
WORKERS = 4


@dataclass
class Traffic:
    """What programs and people do, through whichever web server comes next."""

    gateway: Gateway
    urls: Sequence[str]

    def __post_init__(self) -> None:
        self._clients = cycle(
            [httpx.Client(base_url=url, trust_env=False, timeout=30.0) for url in self.urls]
        )
        self._lock = Lock()

    def call(self, who: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Call the API of the next web server; fails unless it agrees."""
        with self._lock:
            client = next(self._clients)
        headers = {"Authorization": f"Bearer {self.gateway.token(who)}"}
        answer = client.post(f"/api{path}", json=body, headers=headers)
        assert answer.is_success, answer.text
        return dict(answer.json())

    def open(self, agent: str, operation: str, environment: str) -> str:
        """Open a request as an agent that runs elsewhere; its id."""
        name = new_label()
        task = {"operation": operation, "environment": environment}
        body = {"workflow_id": name, "thread_id": name, "agent_name": agent, "task": task}
        return str(self.call("rosa", "/approvals", body)["request_id"])

    def end(self, request_id: str, how: str) -> None:
        """Decide or cancel a request; what is to expire is left to the sweep."""
        if how == "approved":
            self.call("ben", f"/approvals/{request_id}/approve", {"comment": "Go."})
        elif how == "rejected":
            self.call("ben", f"/approvals/{request_id}/reject", {"reason": "Not now."})
        elif how == "cancelled":
            self.call("rosa", f"/approvals/{request_id}/cancel", {"reason": "No longer."})

    def live(self, number: int, seed: int, midway: Callable[[], None]) -> Counter[str]:
        """Lead so many lives, `midway` in the midst of them; how many ended in which way."""
        chance = random.Random(seed)  # noqa: S311 - a repeatable mixture
        lives = [(chance.choice(KINDS), chance.choice(ENDS + WAITING)) for _ in range(number)]
        with ThreadPoolExecutor(WORKERS) as pool:
            first = [pool.submit(self._live, kind, how) for kind, how in lives[: number // 2]]
            for life in islice(as_completed(first), len(first) // 2):
                life.result()
            midway()
            rest = [pool.submit(self._live, kind, how) for kind, how in lives[number // 2 :]]
            for life in (*first, *rest):
                life.result()
        return Counter(how for _, how in lives)

    def _live(self, kind: Kind, how: str) -> None:
        agent, operation, environment = kind
        # `brief` is the operation whose requests expire within two seconds.
        self.end(self.open(agent, "brief" if how == "expired" else operation, environment), how)

"""Drives workflows through their lives, in a process of its own, whatever is broken meanwhile.

Run as `python -m tests.chaos.load`; standard input is the JSON of `Orders`, standard output takes
one line of JSON for each life: what was asked for and what the gateway said.
"""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from threading import Lock, local
from typing import Any, TypeVar

import httpx

from hitl_project.parent_death import die_with_parent
from tests.chaos.configuration import BRIEF_SECONDS
from tests.chaos.plans import CHANGEOVER, Plan, plans
from tests.e2e.pages import Browser
from tests.sandbox_process import PLAIN_HTTP, REPOSITORY, ROOT

Json = dict[str, Any]
T = TypeVar("T")
# Longer than any outage lasts; a call that is not answered until then is a finding.
PATIENCE_SECONDS = 120.0
PAUSE_SECONDS = 0.2
# How long somebody waits for what comes of a comment.
ANSWER_SECONDS = 5.0
PEOPLE = ("ada", "ben")
# A server closes what stood idle, maybe just as it is used again: that would look like a fault.
_LIMITS = httpx.Limits(max_keepalive_connections=0)


@dataclass(frozen=True)
class Orders:
    """Everything that the process needs to know."""

    seed: int
    runs: int
    at_once: int
    urls: Sequence[str]
    control_url: str
    tokens: Mapping[str, str] = field(repr=False)
    password: str = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)


class GaveUp(Exception):
    """Something did not come within all patience."""


@dataclass
class Life:
    """What was asked for and what was answered: `told` are the answers that promise something."""

    plan: Json
    workflow_id: str = ""
    requests: list[str] = field(default_factory=list)
    told: list[Json] = field(default_factory=list)
    problem: str = ""


class Driver:
    """Leads lives; one for all threads."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._threads = local()
        self._browsers = Lock()

    # Calls that are made until they are answered

    def _client(self, url: str) -> httpx.Client:
        clients = vars(self._threads).setdefault("clients", {})
        if url not in clients:
            clients[url] = httpx.Client(
                base_url=url, timeout=10.0, trust_env=False, verify=PLAIN_HTTP, limits=_LIMITS
            )
        client: httpx.Client = clients[url]
        return client

    def _call(self, who: str, method: str, path: str, body: Json | None = None) -> httpx.Response:
        """Call the API, on whichever server answers; all of these calls may be repeated."""
        headers = {"Authorization": f"Bearer {self._orders.tokens[who]}"}

        def once() -> httpx.Response | None:
            url = random.choice(self._orders.urls)  # noqa: S311
            with suppress(httpx.TransportError):
                answer = self._client(url).request(
                    method, f"/api{path}", json=body, headers=headers
                )
                return None if answer.status_code >= 500 else answer
            return None

        return _until(once, f"{method} {path} is answered")

    def _sandbox(self, path: str, body: Json) -> Json | None:
        """Tell the sandbox to do something; None where it says that there is no such thing."""
        client = self._client(self._orders.control_url)
        answer = client.post(f"/_control{path}", json=body)
        if answer.status_code == 404:
            return None
        return dict(answer.raise_for_status().json())

    # A life

    def lead(self, plan: Plan) -> Life:
        """Start a workflow, decide what it asks, and write down what was said."""
        life = Life(asdict(plan))
        try:
            self._start(plan, life)
            if plan.operation == CHANGEOVER:
                self._pass_first_step(plan, life)
            if plan.outcomes:
                life.requests += self._asked(life, len(plan.outcomes))[len(life.requests) :]
            self._end(plan, life)
        except GaveUp as error:
            life.problem = str(error)
        return life

    def _start(self, plan: Plan, life: Life) -> None:
        body: Json = {"workflow": "task", "idempotency_key": plan.label}
        if plan.is_graph:
            body["workflow"] = plan.operation
            body["task"] = {
                "operation": "deploy", "environment": "production", "label": plan.label
            }  # fmt: skip
        else:
            body["workflow"] = plan.operation if plan.operation == CHANGEOVER else "task"
            body["task"] = {
                "operation": plan.operation,
                "environment": plan.environment,
                "arguments": _arguments(plan),
            }
        if plan.pull is not None:
            self._sandbox("/github/pulls", {"number": plan.pull, "repository": REPOSITORY})
            address = f"https://github.com/{REPOSITORY}/pull/{plan.pull}"
            body |= {"pr_number": plan.pull, "pr_url": address, "github_repo": REPOSITORY}
        answer = self._call("rosa", "POST", "/workflows", body)
        if answer.status_code != 202:
            raise GaveUp(f"The start was answered {answer.status_code}: {answer.text}")
        life.workflow_id = answer.json()["workflow_id"]

    def _asked(self, life: Life, number: int) -> list[str]:
        """The ids of what it asks, the oldest first, once it asks so much or asks no more."""

        def there() -> list[str] | None:
            view = self._call("rosa", "GET", f"/workflows/{life.workflow_id}").json()
            found = [ask["request_id"] for ask in view["approvals"]]
            goes_on = view["status"] in {"running", "waiting"}
            return found if len(found) >= number or not goes_on else None

        return _until(there, f"workflow {life.workflow_id} asks {number} times")

    def _pass_first_step(self, plan: Plan, life: Life) -> None:
        """Approve what comes before that which the plan is about."""
        life.requests += self._asked(life, 1)
        for request_id in life.requests:
            self._decide(life, request_id, self._voter(plan), "approve", plan.way)

    def _end(self, plan: Plan, life: Life) -> None:
        if plan.waits_in_vain:
            return
        if plan.operation == "brief":
            # It is decided about when its time is over, or nearly so.
            time.sleep(random.Random(plan.label).uniform(0, 1.2 * BRIEF_SECONDS))  # noqa: S311
        waiting = life.requests[1 if plan.operation == CHANGEOVER else 0 :]
        if not waiting:
            return
        if plan.end == "cancel":
            body = {"reason": "No longer."}
            self._call("rosa", "POST", f"/workflows/{life.workflow_id}/cancel", body)
            return
        for request_id in waiting:
            if plan.end == "both":
                self._both(plan, life, request_id)
                continue
            voters = PEOPLE if plan.quorum > 1 and plan.end == "approve" else (self._voter(plan),)
            for who in voters:
                self._decide(life, request_id, who, plan.end, plan.way)

    def _voter(self, plan: Plan) -> str:
        return PEOPLE[plan.number % 2]

    def _both(self, plan: Plan, life: Life, request_id: str) -> None:
        """Two people at once: one approves, the other rejects, each in a way of their own."""
        other = "api" if plan.way != "api" else "linear"
        with ThreadPoolExecutor(2) as pool:
            for call in (
                pool.submit(self._decide, life, request_id, "ada", "approve", plan.way),
                pool.submit(self._decide, life, request_id, "ben", "reject", other),
            ):
                call.result()

    # The ways to decide

    def _decide(self, life: Life, request_id: str, who: str, choice: str, way: str) -> None:
        decide = {
            "api": self._by_api,
            "linear": self._by_move,
            "lost": self._by_lost_move,
            "comment": self._by_comment,
            "web": self._by_page,
            "command": self._by_command,
        }[way]
        decide(life, request_id, who, choice)

    def _by_api(self, life: Life, request_id: str, who: str, choice: str) -> None:
        body = {"comment": "Go."} if choice == "approve" else {"reason": "Not now."}
        answer = self._call(who, "POST", f"/approvals/{request_id}/{choice}", body)
        if answer.status_code not in {200, 403, 409}:
            raise GaveUp(f"A vote was answered {answer.status_code}: {answer.text}")
        if answer.status_code == 200:
            told = {"request": request_id, "who": who, "status": answer.json()["status"]}
            life.told.append(told)

    def _by_move(
        self, life: Life, request_id: str, who: str, choice: str, *, webhook: bool = True
    ) -> None:
        del life  # Linear promises nothing
        state = "Approved" if choice == "approve" else "Rejected"
        body = {"state": state, "actor": who, "webhook": webhook}

        def moved() -> bool | None:
            issue = self._sandbox(f"/linear/issues/{request_id}/move", body)
            if issue is None:  # not there yet, or never, where it was over before
                return None if self._waits(request_id) else True
            # Somebody else moved it there: a person sees that, and waits until it is back.
            mine = issue["history"][-1]["actor"] == who
            return True if mine or not self._waits(request_id) else None

        _until(moved, f"{who} moves the issue of {request_id} to {state}")

    def _waits(self, request_id: str) -> bool:
        answer = self._call("ben", "GET", f"/approvals/{request_id}")
        return bool(answer.json()["status"] == "pending")

    def _by_lost_move(self, life: Life, request_id: str, who: str, choice: str) -> None:
        self._by_move(life, request_id, who, choice, webhook=False)

    def _by_comment(self, life: Life, request_id: str, who: str, choice: str) -> None:
        asked = self._call("ben", "GET", f"/approvals/{request_id}").json()
        if asked["risk_level"] == "critical":  # where a comment is not enough
            self._by_move(life, request_id, who, choice)
            return
        body = {"body": f"/{choice} As agreed.", "actor": who}

        def written() -> bool | None:
            if self._sandbox(f"/linear/issues/{request_id}/comment", body) is not None:
                return True
            return None if self._waits(request_id) else True

        _until(written, f"{who} comments on the issue of {request_id}")
        # A comment whose webhook is lost is not read back as a move is: who gets no answer moves.
        deadline = time.monotonic() + ANSWER_SECONDS
        while self._waits(request_id):
            if time.monotonic() > deadline:
                self._by_move(life, request_id, who, choice)
                return
            time.sleep(PAUSE_SECONDS)

    def _by_page(self, life: Life, request_id: str, who: str, choice: str) -> None:
        if who != "ada":  # who alone has a password
            self._by_api(life, request_id, who, choice)
            return
        page = f"/approvals/{request_id}/"
        words = {f"{choice}-words": "As agreed.", f"{choice}-typed": "production"}

        def pressed() -> bool | None:
            # A page that is gone, an answer that is lost: people look again, and press again.
            with suppress(httpx.TransportError, AssertionError):
                browser = self._browser()
                answer = browser.post(f"{page}{choice}/", page="/preferences/", **words)
                return True if answer.status_code in {302, 403, 409} else None
            with self._browsers:
                vars(self._threads).pop("browser", None)
            return None

        _until(pressed, f"the page of {request_id} takes a vote")

    def _browser(self) -> Browser:
        kept = vars(self._threads)
        if "browser" not in kept:
            url = random.choice(self._orders.urls)  # noqa: S311
            kept["browser"] = Browser.log_in(url, "ada", self._orders.password)
        browser: Browser = kept["browser"]
        return browser

    def _by_command(self, life: Life, request_id: str, who: str, choice: str) -> None:
        del life
        words = [f"--{choice}", "--reason", "By hand.", "--as", who]

        def done() -> bool | None:
            status, said = _command("resolve_request", request_id, *words, **self._environment())
            # A refusal is an answer; a database that is away is none.
            return True if status == 0 or "CommandError:" in said else None

        _until(done, f"the command decides {request_id}")

    def _environment(self) -> dict[str, str]:
        # Where one hangs, it is made to say where.
        return {**self._orders.environment, "PYTHONFAULTHANDLER": "1"}


def _arguments(plan: Plan) -> Json:
    """The arguments by which everything that it does can be told from what others do."""
    if plan.operation == "merge_pull_request":
        return {}
    if plan.operation == "run_ci":
        return {"ref": f"change-{plan.pull}"}
    named = {"deploy": "service", "db_migrate": "database"}.get(plan.operation, "label")
    return {named: plan.label}


def _command(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run a management command: its exit status and what it complained of. GaveUp if it hangs."""
    with subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            _, said = process.communicate(timeout=PATIENCE_SECONDS / 2)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            _, said = process.communicate()
            raise GaveUp(f"`{' '.join(arguments)}` hangs: {said[-3000:]}") from None
    return process.returncode, said


def _until(look: Callable[[], T | None], what: str) -> T:
    """What the look finds, once it finds something; GaveUp after all patience."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise GaveUp(f"It did not happen within {PATIENCE_SECONDS:g} s that {what}.")
        time.sleep(PAUSE_SECONDS)
    return found


def main() -> None:
    """Lead all lives and print what came of them."""
    # A gateway that was stopped with the chaos would be waited for again and again.
    die_with_parent(signal.SIGKILL)
    orders = Orders(**json.loads(sys.stdin.readline()))
    driver = Driver(orders)
    with ThreadPoolExecutor(orders.at_once) as pool:
        for life in pool.map(driver.lead, plans(orders.seed, orders.runs)):
            sys.stdout.write(json.dumps(asdict(life)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()

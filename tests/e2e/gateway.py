"""What people and programs do with the gateway, and what they see of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import uuid4

import httpx

from tests.e2e.pages import Browser
from tests.e2e.stack import SOON_SECONDS, Stack, soon
from tests.sandbox_process import REPOSITORY

Json = dict[str, Any]

GROUPS = ("release-managers", "platform", "developers")
LINEAR_USERS = {
    "ada": "b5ea5f1f-8adc-4f52-b4bd-ab4e84cf51ba",
    "ben": "8c1d2e3f-4a5b-4c6d-8e7f-9a0b1c2d3e4f",
    "rosa": "a7d4c2b1-9f8e-4a6b-8c5d-1e2f3a4b5c6d",
}


@dataclass(frozen=True)
class Run:
    """A workflow that was started; `label` stands in the options of every effect it has."""

    gateway: "Gateway"
    id: str
    label: str

    def view(self) -> Json:
        """The run as the API shows it."""
        answer = self.gateway.call("rosa", "GET", f"/workflows/{self.id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def wait(self, status: str, seconds: float = SOON_SECONDS) -> Json:
        """The run, once it has this status."""
        seen: Json = {}

        def arrived() -> bool:
            seen.update(self.view())
            return bool(seen["status"] == status)

        soon(arrived, f"run {self.id} is {status}", seconds)
        return seen

    def requests(self, number: int, status: str = "pending") -> list[str]:
        """The ids of the requests with this status, once there are so many."""
        found: list[str] = []

        def there() -> bool:
            asked = self.view()["approvals"]
            found[:] = [ask["request_id"] for ask in asked if ask["status"] == status]
            return len(found) == number

        soon(there, f"run {self.id} has {number} {status} requests")
        return found

    def request(self) -> str:
        """The id of the one request that waits, once it does."""
        return self.requests(1)[0]

    def new_request(self, *known: str) -> str:
        """The id of the one request that waits and was not known before, once there is one."""
        found: list[str] = []

        def there() -> bool:
            asked = self.view()["approvals"]
            found[:] = [ask["request_id"] for ask in asked if ask["status"] == "pending"]
            found[:] = [request_id for request_id in found if request_id not in known]
            return len(found) == 1

        soon(there, f"run {self.id} asks something new")
        return found[0]

    def effects(self) -> list[Json]:
        """Everything that was really done for this run."""
        return self.gateway.stack.effects(self.label)

    def wait_for_effects(self, number: int, seconds: float = SOON_SECONDS) -> list[Json]:
        """The effects, once there are so many."""
        what = f"run {self.id} has had {number} effects"
        soon(lambda: len(self.effects()) >= number, what, seconds)
        return self.effects()


class Gateway:
    """One stack with its people.

    Ada decides anywhere and operates; Ben decides by API and in Linear; Rosa's agent asks.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.sandbox = stack.sandbox
        self.password = uuid4().hex
        self._pulls = count(1001)
        self._tokens: dict[str, str] = {}

    def create_people(self) -> None:
        """Create the accounts and tokens, by the commands that an administrator uses."""
        superuser = ["createsuperuser", "--no-input", "--username", "ada"]
        commands = [[*superuser, "--email", "ada@example.com"]]
        for name, linear_user in LINEAR_USERS.items():
            groups = GROUPS if name != "rosa" else ("developers",)
            options = [word for group in groups for word in ("--group", group)]
            options += ["--email", f"{name}@example.com", "--linear-user", linear_user]
            options += ["--token"] if name == "ben" else []
            commands.append(["create_approver", name, *options])
        commands.append(["create_token", "rosa", "--scope", "request"])
        given = {"DJANGO_SUPERUSER_PASSWORD": self.password}
        for command, printed in zip(
            commands, self.stack.manage_each(commands, **given), strict=True
        ):
            self._tokens[command[1]] = printed

    def create_token(self, who: str, scope: str) -> None:
        """Give somebody a token, by which they call the API from now on."""
        self._tokens[who] = self.stack.manage("create_token", who, "--scope", scope)

    def browser(self) -> Browser:
        """Ada at her desk, logged in."""
        return Browser.log_in(self.stack.url, "ada", self.password)

    # The API

    def token(self, who: str) -> str:
        """Somebody's token."""
        return self._tokens[who]

    def call(self, who: str, method: str, path: str, body: object = None) -> httpx.Response:
        """Call the API below `/api` with somebody's token."""
        headers = {"Authorization": f"Bearer {self.token(who)}"}
        return self.stack.http.request(method, f"/api{path}", json=body, headers=headers)

    def start(self, workflow: str, task: Mapping[str, Any], label: str, **more: Any) -> Run:
        """Start a workflow as Rosa's agent."""
        body = {"workflow": workflow, "task": task, **more}
        answer = self.call("rosa", "POST", "/workflows", body)
        assert answer.status_code == 202, answer.text
        return Run(self, answer.json()["workflow_id"], label)

    def ask(self, operation: str, environment: str = "production", **more: Any) -> Run:
        """Start one operation of the configuration, under a label of its own."""
        label = new_label()
        argument = {"terraform_apply": "module", "repair": "label", "replace": "label"}
        name = argument.get(operation, "label" if operation == "brief" else "service")
        task = {"operation": operation, "environment": environment, "arguments": {name: label}}
        return self.start("task", task, label, **more)

    def run_graph(self, name: str, label: str = "") -> Run:
        """Start a graph of somebody else's."""
        label = label or new_label()
        task = {"operation": "deploy", "environment": "production", "label": label}
        return self.start(name, task, label)

    def approve(self, request_id: str, who: str = "ben") -> httpx.Response:
        """Vote for a request by API."""
        return self.call(who, "POST", f"/approvals/{request_id}/approve", {"comment": "Go."})

    def reject(self, request_id: str, reason: str = "Not now.") -> httpx.Response:
        """Vote against a request by API, as Ben."""
        return self.call("ben", "POST", f"/approvals/{request_id}/reject", {"reason": reason})

    def approval(self, request_id: str) -> Json:
        """A request as the API shows it."""
        answer = self.call("ben", "GET", f"/approvals/{request_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def by_place(self, request_ids: list[str]) -> list[str]:
        """Requests of a graph that asks about places, sorted by place."""
        return sorted(request_ids, key=lambda key: str(self.approval(key)["task"]["place"]))

    # What is owed

    def delivery(self, request_id: str, channel: str = "workflow") -> Json:
        """What a channel is owed for a request."""
        query = "SELECT * FROM approvals_delivery WHERE request_id = %s AND channel = %s"
        return self.stack.rows(query, request_id, channel)[0]

    def wait_until_told(self, request_id: str, channel: str = "workflow") -> None:
        """Wait until a channel is owed nothing more for a request."""

        def told() -> bool:
            row = self.delivery(request_id, channel)
            return bool(row["done"] == row["wanted"] > 0)

        soon(told, f"{channel} was told of {request_id}")

    def wait_until_quiet(self) -> None:
        """Return once no channel is owed anything, so that the next call outside is the test's."""
        owed = "SELECT 1 FROM approvals_delivery WHERE done < wanted AND gave_up_at IS NULL"
        soon(lambda: not self.stack.rows(owed), "no delivery is owed", seconds=60)

    def wait_until_tried(self, request_id: str) -> None:
        """Wait until a worker has found the run of a decided request busy, and put it off."""
        self.stack.wait_for_row(
            "SELECT 1 FROM approvals_delivery d JOIN approval_requests r ON r.id = d.request_id"
            " WHERE r.id = %s AND d.channel = 'workflow' AND d.done < d.wanted"
            " AND d.not_before > r.decided_at + interval '0.5 s'",
            request_id,
        )

    def wait_for_sweep(self) -> None:
        """Wait until beat has had the rows looked at once more."""
        query = "SELECT seen_at FROM approvals_heartbeat WHERE name = 'sweeps'"
        seen_at = self.stack.rows(query)[0]["seen_at"]
        self.stack.wait_for_row(f"{query} AND seen_at > %s", seen_at)

    # Linear and GitHub

    def issue(self, request_id: str, *, state: str = "", comment: str = "") -> Json:
        """A request's issue, once it exists, has this state and a comment with these words."""
        seen: Json = {}

        def there() -> bool:
            seen.update(self._issue(request_id))
            said = [entry["body"] for entry in seen.get("comments", [])]
            return bool(
                seen
                and state in {"", seen["state"]}
                and any(comment in body for body in said or [""])
            )

        soon(there, f"the issue of {request_id} is {state} and says {comment!r}")
        return seen

    def _issue(self, request_id: str) -> Json:
        try:
            return self.sandbox.issue(request_id)
        except LookupError:
            return {}

    def issues(self, request_id: str) -> list[Json]:
        """Every issue that names the request: there should be one."""
        return [issue for issue in self.sandbox.issues() if request_id in issue["description"]]

    def webhook(self, request_id: str, summary: str) -> Json:
        """The webhook about a request's issue that tells this."""
        told = [w for w in self.sandbox.webhooks() if w["issue_id"] == request_id]
        (webhook,) = (w for w in told if w["summary"] == summary)
        return webhook

    def answer_to(self, request_id: str, summary: str) -> Json:
        """What the gateway answered the webhook that tells this, once it has been answered."""
        seen: list[Json] = []

        def answered() -> bool:
            seen[:] = [
                attempt
                for webhook in self.sandbox.webhooks()
                if (webhook["issue_id"], webhook["summary"]) == (request_id, summary)
                for attempt in webhook["attempts"]
                if attempt["status"] is not None
            ]
            return bool(seen)

        soon(answered, f"the webhook of {request_id} that says {summary!r} is answered")
        assert seen[-1]["status"] == 200, seen
        return dict(seen[-1]["answer"])

    def answer_to_last(self, request_id: str) -> Json:
        """What the gateway answered the last webhook about a request's issue."""
        last = [w for w in self.sandbox.webhooks("Issue") if w["issue_id"] == request_id][-1]
        return self.answer_to(request_id, last["summary"])

    def open_pull(self) -> Json:
        """A pull request of its own, as the fields of a workflow that name it."""
        number = next(self._pulls)
        self.sandbox.add_pull(number)
        url = f"https://github.com/{REPOSITORY}/pull/{number}"
        return {"pr_number": number, "pr_url": url, "github_repo": REPOSITORY}

    def comments_on(self, pull: Json, number: int) -> list[str]:
        """The texts of the comments on a pull request, once there are so many."""
        found: list[str] = []

        def there() -> bool:
            comments = self.sandbox.github_comments(pull["pr_number"])
            found[:] = [comment["body"] for comment in comments]
            return len(found) == number

        soon(there, f"pull request {pull['pr_number']} has {number} comments")
        return found


def new_label() -> str:
    """A name that no other test uses."""
    return f"e2e-{uuid4().hex[:10]}"

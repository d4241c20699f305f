"""Starts the stand-in Linear and GitHub for tests and speaks their control API."""

import os
import ssl
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import httpx

from tests import warm

ROOT = Path(__file__).resolve().parent.parent
SECRET_ENV = "LINEAR_WEBHOOK_SECRET"
START_WITHIN_SECONDS = 20.0
STOP_WITHIN_SECONDS = 10.0

LINEAR_API_KEY = "sandbox-gateway-key"
GITHUB_TOKEN = "sandbox-gateway-token"
REPOSITORY = "acme/shop"

# Reading the machine's certificates takes longer than a test should, and no test needs them.
PLAIN_HTTP = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

Json = dict[str, Any]


class SandboxFailed(RuntimeError):
    """The sandbox did not start; the message holds what it printed."""


@dataclass
class Sandbox:
    """One sandbox process. It stops with `stop`, and by itself when this process dies."""

    process: warm.Process
    url: str
    control: httpx.Client = field(repr=False)

    @classmethod
    def start(
        cls,
        data_dir: Path,
        webhook_url: str | None = None,
        webhook_secret: str = "",
        *,
        retry_delays: Sequence[float] = (0.1, 0.2, 0.4),
        port: int = 0,
        public_url: str | None = None,
        empty: bool = False,
    ) -> Self:
        """Start a sandbox on a free port (or `port`) and wait until it answers.

        Webhooks go to `webhook_url`, now or when `send_webhooks_to` names one; without a secret
        they are signed with "unset". Raises SandboxFailed.
        """
        command = [
            "-m", "sandbox", "--port", str(port), "--data", str(data_dir),
            "--webhook-secret-env", SECRET_ENV,
            "--retry-delays", ",".join(str(delay) for delay in retry_delays),
        ]  # fmt: skip
        command += ["--webhook-url", webhook_url] if webhook_url else []
        command += ["--public-url", public_url] if public_url else []
        command += ["--empty"] if empty else []
        environment = {**os.environ, SECRET_ENV: webhook_secret or "unset"}
        with TemporaryDirectory() as folder:
            log = Path(folder) / "sandbox.log"
            process = warm.start(command, environment, log)
            url = _wait_until_ready(process, log)
        client = httpx.Client(
            base_url=f"{url}/_control", timeout=30.0, trust_env=False, verify=PLAIN_HTTP
        )
        return cls(process, url, client)

    @property
    def linear_url(self) -> str:
        """The value for LINEAR_API_URL."""
        return f"{self.url}/linear/graphql"

    @property
    def github_url(self) -> str:
        """The value for GITHUB_API_URL."""
        return f"{self.url}/github/api"

    @property
    def hooks_url(self) -> str:
        """Where the internal endpoints are; a hook's name follows."""
        return f"{self.url}/hooks"

    def stop(self) -> int:
        """End the process, by force if it must be; returns its exit status."""
        self.control.close()
        self.process.terminate()
        try:
            self.process.wait(STOP_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return self.process.wait()

    def kill(self) -> None:
        """End the process without warning, as a crash would."""
        self.control.close()
        self.process.kill()
        self.process.wait()

    # What people do in Linear

    def move(self, issue: str, state: str, actor: str = "ada", *, webhook: bool = True) -> Json:
        """Move an issue (UUID or identifier); without `webhook` its webhook is lost."""
        return self._issue_call(issue, "move", state=state, actor=actor, webhook=webhook)

    def comment(
        self,
        issue: str,
        body: str,
        actor: str = "ada",
        *,
        parent_id: str | None = None,
        webhook: bool = True,
    ) -> Json:
        """Comment on an issue; returns the comment."""
        return self._issue_call(
            issue, "comment", body=body, actor=actor, parent_id=parent_id, webhook=webhook
        )

    def edit_comment(
        self, comment_id: str, body: str, actor: str = "ada", *, webhook: bool = True
    ) -> Json:
        """Replace the text of the actor's own comment."""
        body_ = {"body": body, "actor": actor, "webhook": webhook}
        return dict(self._call("POST", f"/linear/comments/{comment_id}/edit", body_))

    def react(
        self,
        issue: str,
        emoji: str = "+1",
        actor: str = "ada",
        *,
        comment_id: str | None = None,
        webhook: bool = True,
    ) -> Json:
        """React to an issue, or to one of its comments."""
        return self._issue_call(
            issue, "react", emoji=emoji, actor=actor, comment_id=comment_id, webhook=webhook
        )

    def trash(
        self, issue: str, actor: str = "ada", *, action: str = "remove", webhook: bool = True
    ) -> Json:
        """Move an issue to the trash; its webhook says `remove`, or `update` where asked."""
        return self._issue_call(issue, "trash", actor=actor, action=action, webhook=webhook)

    # What the sandbox has seen

    def issues(self) -> list[Json]:
        """All issues with state, labels, comments, reactions, attachments and history."""
        return list(self._call("GET", "/linear/issues"))

    def issue(self, key: str) -> Json:
        """One issue by UUID or identifier. Raises LookupError."""
        for issue in self.issues():
            if key in (issue["id"], issue["identifier"]):
                return dict(issue)
        raise LookupError(f"The sandbox has no issue {key}.")

    def requests(self, target: str | None = None, operation: str | None = None) -> list[Json]:
        """Every API call received, of one target or operation if named."""
        asked = {"target": target, "operation": operation}
        params = {name: value for name, value in asked.items() if value is not None}
        return list(self._call("GET", "/requests", params=params))

    def webhooks(
        self, event: str | None = None, action: str | None = None, *, newest: int | None = None
    ) -> list[Json]:
        """The webhooks queued, with body, signature, headers and the attempts to send them.

        `newest` looks at no more than so many, which is quick however many there are.
        """
        asked = {} if newest is None else {"newest": str(newest)}
        return [
            webhook
            for webhook in self._call("GET", "/webhooks", params=asked)
            if event in (None, webhook["event"]) and action in (None, webhook["action"])
        ]

    def github_comments(self, number: int | None = None) -> list[Json]:
        """The comments on pull requests, of one pull request if named."""
        comments = self._call("GET", "/github/comments")
        return [comment for comment in comments if number in (None, comment["number"])]

    def dispatches(self) -> list[Json]:
        """The workflow runs that were dispatched."""
        return list(self._call("GET", "/github/dispatches"))

    def statuses(self) -> list[Json]:
        """The commit statuses set."""
        return list(self._call("GET", "/github/statuses"))

    def hook_calls(self, name: str | None = None) -> list[Json]:
        """What internal endpoints were told to do, each key once, with how often it was asked."""
        return [call for call in self._call("GET", "/hooks") if name in (None, call["name"])]

    # What tests arrange

    def add_pull(self, number: int, title: str = "", repository: str = REPOSITORY) -> Json:
        """Open a pull request."""
        body = {"number": number, "title": title, "repository": repository}
        return dict(self._call("POST", "/github/pulls", body))

    def add_github_comment(
        self, number: int, body: str, author: str = "rosa", repository: str = REPOSITORY
    ) -> Json:
        """Write a comment on a pull request as somebody else."""
        given = {"number": number, "body": body, "author": author, "repository": repository}
        return dict(self._call("POST", "/github/comments", given))

    def send_webhooks_to(self, url: str | None) -> None:
        """Send webhooks to another address from now on."""
        self._call("POST", "/webhook-url", {"url": url})

    def resend(self, webhook_id: int, times: int = 1, *, concurrently: bool = False) -> list[Json]:
        """Send a webhook again, same delivery and body; returns the answers."""
        body = {"times": times, "concurrently": concurrently}
        return list(self._call("POST", f"/webhooks/{webhook_id}/resend", body))

    def fault(self, target: str, kind: str, operation: str | None = None, **more: object) -> Json:
        """Put a fault in force: `times`, `seconds`, `status`, `retry_after`, `code`, `message`."""
        body = {"target": target, "kind": kind, "operation": operation, **more}
        return dict(self._call("POST", "/faults", body))

    def faults(self) -> list[Json]:
        """The faults in force and how often each has struck."""
        return list(self._call("GET", "/faults"))

    def clear_faults(self) -> None:
        """End all faults and let go of what they hold."""
        self._call("DELETE", "/faults")

    def reset(self) -> None:
        """Forget everything that happened; samples are there again."""
        self._call("POST", "/reset", {})

    def _issue_call(self, issue: str, verb: str, **body: object) -> Json:
        return dict(self._call("POST", f"/linear/issues/{issue}/{verb}", body))

    def _call(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        params: dict[str, str] | None = None,
    ) -> Any:  # JSON
        answer = self.control.request(method, path, json=body, params=params)
        if answer.is_error:
            raise ValueError(f"{method} {path} answered {answer.status_code}: {answer.text}")
        return answer.json()


def _wait_until_ready(process: warm.Process, log: Path) -> str:
    deadline = time.monotonic() + START_WITHIN_SECONDS
    while time.monotonic() < deadline:
        ended = process.poll()
        said = log.read_text()
        for line in said.splitlines(keepends=True):
            if line.startswith("Sandbox ready: ") and line.endswith("\n"):
                return line.removeprefix("Sandbox ready: ").strip()
        if ended is not None:
            raise SandboxFailed(f"The sandbox ended with status {ended}:\n{said}")
        time.sleep(0.02)
    process.kill()
    process.wait()
    raise SandboxFailed(f"The sandbox was not ready within {START_WITHIN_SECONDS:g} s.")

"""What the demo loads and starts: people, and workflows of different risk, for real."""

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import User

from agents.models import Run, RunStatus
from agents.services import start_run
from approvals.actors import user_actor
from approvals.core.lifecycle import Via
from approvals.core.roles import OPERATORS
from approvals.services import create_approver, create_token
from hitl_project.embedded.folder import write_private

REPOSITORY = "acme/shop"
SETTLE_SECONDS = 30.0


@dataclass(frozen=True)
class Credentials:
    """What a person at this machine needs; kept in the data folder, for this demo alone."""

    password: str
    request_token: str
    decide_token: str


@dataclass(frozen=True)
class _Person:
    name: str
    full_name: str
    linear_user_id: str
    groups: tuple[str, ...]
    staff: bool = False


# The same people as on the sandbox's Linear; Nora is linked, but in no group that decides.
PEOPLE = (
    _Person(
        "ada",
        "Ada Approver",
        "b5ea5f1f-8adc-4f52-b4bd-ab4e84cf51ba",
        ("release-managers", "platform", "developers"),
    ),
    _Person(
        "ben",
        "Ben Approver",
        "8c1d2e3f-4a5b-4c6d-8e7f-9a0b1c2d3e4f",
        ("release-managers", "platform", "developers"),
    ),
    _Person("nora", "Nora Norights", "3e9b7a64-2c1f-4d85-b6a3-7f0e5d4c3b2a", ()),
    _Person("rosa", "Rosa Requester", "a7d4c2b1-9f8e-4a6b-8c5d-1e2f3a4b5c6d", ("developers",)),
    _Person("olga", "Olga Operator", "", (OPERATORS,), staff=True),
)

# (workflow, pull request, task)
RUNS: tuple[tuple[str, int, Mapping[str, Any]], ...] = (
    (
        "pr-deployment",
        7,
        {
            "operation": "deploy",
            "environment": "production",
            "description": "Deploy v2.5.0: saved baskets, faster search, a new receipt mail",
            "arguments": {"version": "v2.5.0", "service": "shop"},
        },
    ),
    (
        "infrastructure",
        21,
        {
            "operation": "terraform_apply",
            "environment": "production",
            "description": "Move checkout to larger instances",
            "arguments": {"module": "checkout", "database": "orders"},
        },
    ),
    (
        "task",
        12,
        {
            "operation": "db_migrate",
            "environment": "staging",
            "description": "Add an index for order search, concurrently, so no table is locked",
            "arguments": {"database": "orders", "migration": "0042_order_search"},
        },
    ),
    (
        "task",
        24,
        {
            "operation": "merge_pull_request",
            "environment": "development",
            "description": "Merge the page about refund webhooks",
        },
    ),
    (
        "docs-update",
        24,
        {
            "operation": "update_docs",
            "environment": "production",
            "description": "Explain refund webhooks",
            "arguments": {"page": "refund-webhooks"},
        },
    ),
    (
        "hotfix",
        27,
        {
            "operation": "deploy",
            "environment": "production",
            "description": "Stop charging twice when a payment is retried",
            "arguments": {"version": "v2.4.4", "service": "payments"},
        },
    ),
)

_WHERE = """
  Log in         ada, ben, nora or rosa, password {password}
  Queue          {url}/
  Admin          {url}/admin/  (olga, the same password)
  API            {url}/api/docs
  Linear         {sandbox}/linear  (a stand-in: nothing leaves this machine)
  Pull request   {sandbox}/github/{repository}/pull/7

  To try
  1. On the Linear board open the issue that deploys to production, act as Ada, move it to Done:
     the workflow resumes, deploys once, and the pull request says who approved.
  2. Move another issue as Nora, who may not decide: it goes back, with the reason.
  3. In the queue, as ada, reject the hotfix; what needs two people, approve as ada and as ben.
  4. Ask by API, with Rosa's token, and look at the queue:

     curl -s {url}/api/workflows -H 'Authorization: Bearer {request_token}' \\
       -H 'Content-Type: application/json' -d '{{"workflow": "task",
       "task": {{"operation": "restart_service", "environment": "production"}}}}'

     Ben's token decides: {decide_token}
"""

_NO_SANDBOX = """
  Queue          {url}/
  No demo was loaded, because a real Linear or GitHub is configured. Make an account that may log
  in and look after everything with: manage.py createsuperuser
"""


def load_demo() -> str:
    """Create the people, start the workflows if there are none, and say what to try.

    Nothing is made where a real Linear or GitHub would hear of it.
    """
    sandbox = _sandbox()
    if not sandbox:
        return _NO_SANDBOX.format(url=settings.PUBLIC_URL)
    credentials = _credentials()
    if not Run.objects.exists():
        _start_runs(sandbox)
    return _WHERE.format(
        url=settings.PUBLIC_URL, sandbox=sandbox, repository=REPOSITORY, **asdict(credentials)
    )


def _credentials() -> Credentials:
    """The demo's password and tokens: made once, readable by the owner of the data folder."""
    path = settings.HITL_DATA_DIR / "demo.json"
    if path.exists():
        return Credentials(**json.loads(path.read_text()))
    password = secrets.token_urlsafe(9)
    for person in PEOPLE:
        _create(person, password)
    credentials = Credentials(
        password,
        create_token("rosa", scope="request", label="demo"),
        create_token("ben", scope="decide", label="demo"),
    )
    write_private(path, json.dumps(asdict(credentials)))
    return credentials


def _create(person: _Person, password: str) -> None:
    user = create_approver(
        person.name,
        email=f"{person.name}@example.com",
        groups=person.groups,
        linear_user_id=person.linear_user_id,
        password=password,
    )
    user.first_name, user.last_name = person.full_name.split(" ", 1)
    user.is_staff = user.is_superuser = person.staff
    user.save(update_fields=["first_name", "last_name", "is_staff", "is_superuser"])


def _start_runs(sandbox: str) -> None:
    actor = user_actor(User.objects.get(username="rosa"), Via.COMMAND)
    for workflow, number, task in RUNS:
        start_run(
            actor=actor,
            workflow=workflow,
            task=task,
            pr_number=number,
            pr_url=f"{sandbox}/github/{REPOSITORY}/pull/{number}",
            github_repo=REPOSITORY,
        )
    # Whoever looks first should find the queue filled; a slow machine only shows it filling.
    ends = time.monotonic() + SETTLE_SECONDS
    while Run.objects.filter(status=RunStatus.RUNNING).exists() and time.monotonic() < ends:
        time.sleep(0.2)


def _sandbox() -> str:
    """The sandbox's address where both Linear and GitHub are the sandbox, else nothing."""
    hosts = {urlsplit(url).netloc for url in (settings.LINEAR_API_URL, settings.GITHUB_API_URL)}
    local = len(hosts) == 1 and hosts.copy().pop().startswith("127.0.0.1:")
    return f"http://{hosts.pop()}" if local else ""

"""A gateway in this process, over the sandbox, that can die in a child and recover here."""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import yaml
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from psycopg.rows import dict_row
from psycopg.types.json import JsonLoader

import agents.services
import agents.tasks
import approvals.tasks
from agents import turns
from agents.actions import ActionResult, OutcomeUnknown
from agents.models import Execution, Run, RunStatus
from approvals import outbox, services
from approvals.actors import user_actor
from approvals.core.lifecycle import Actor, Via
from approvals.core.queues import Queue
from approvals.models import Delivery
from integrations.executors import run_command
from tests.chaos.configuration import write_configuration
from tests.chaos.invariants import EVERY, Facts
from tests.chaos.load import Life
from tests.e2e.metrics import Scrape, parsed
from tests.integrations.linear_world import ADA, BEN
from tests.sandbox_process import REPOSITORY, Sandbox

Json = dict[str, Any]
# So many looks at what is owed are enough for whatever follows from whatever.
ROUNDS = 12
DECIDE = ("developers", "platform", "release-managers")

_COUNTED = re.compile(
    r"\bhitl_(approval_requests_(created|resolved)|runs_ended)(_total)?\b"
    r"|\bhitl_approval(s_pending|_latency_seconds_count)\b"
)

# What the next commands come to where that is not what they come to by themselves: `lost_before`
# and `lost_after` an effect that nobody hears of.
next_outcomes: list[str] = []

_HERE, _send = os.getpid(), outbox.hint_task
COMMAND = f"{__name__}.command"


def command(action: Mapping[str, Any], *, idempotency_key: str) -> ActionResult:
    """Run the command, unless the script says otherwise."""
    outcome = next_outcomes.pop(0) if next_outcomes else ""
    if outcome == "lost_before":
        raise OutcomeUnknown("The worker lost sight of it.")
    result = run_command(action, idempotency_key=idempotency_key)
    if outcome == "lost_after":
        raise OutcomeUnknown("The worker lost sight of it.")
    return result


def send_in_child(name: str, queue: Queue, *arguments: str) -> None:
    """Send a hint from a child alone: this process does by itself what hints would have done."""
    if os.getpid() != _HERE:
        _send(name, queue, *arguments)


def write_quick_configuration(folder: Path) -> Path:
    """The configuration of the other chaos, whose commands take effect and are over at once."""
    write_configuration(folder)
    file = folder / "hitl" / "operations.yaml"
    known = yaml.safe_load(file.read_text())
    effect = '{{"idempotency_key": "\'"$HITL_IDEMPOTENCY_KEY"\'"}}'
    script = f"echo '{effect}' >> \"$HITL_DATA_DIR/effects.jsonl\""
    for name in ("repair", "replace", "pair", "deploy"):
        known["operations"][name] |= {
            "arguments": {},
            "command": {"argv": ["sh", "-c", script]},
        }
    file.write_text(yaml.safe_dump(known))
    return folder


@dataclass
class World:
    """The gateway as the invariants see it, with its people."""

    sandbox: Sandbox
    data_dir: Path
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    def people(self) -> None:
        """Ada and Ben decide, Olga operates, Rosa asks, and Nora may do nothing."""
        for name, linear_user, groups in (
            ("ada", ADA, DECIDE),
            ("ben", BEN, DECIDE),
            ("olga", "", ("operators",)),
            ("rosa", "", ()),
            ("nora", "", ()),
        ):
            services.create_approver(
                name, email=f"{name}@example.com", groups=groups, linear_user_id=linear_user
            )

    def actor(self, name: str) -> Actor:
        """Somebody at the API."""
        return user_actor(User.objects.get(username=name), Via.API)

    def pull(self) -> Json:
        """A pull request of its own, as the facts that name it."""
        number = next(self._numbers)
        self.sandbox.add_pull(number)
        address = f"https://github.com/{REPOSITORY}/pull/{number}"
        return {"pr_number": number, "pr_url": address, "github_repo": REPOSITORY}

    # What the invariants look at

    def rows(self, query: str, *values: object) -> list[Json]:
        """What a query finds, with JSON as Python has it."""
        connection.ensure_connection()
        # Past Django, to which JSON is text.
        cursor = psycopg.Cursor(connection.connection, row_factory=dict_row)
        for kind in ("json", "jsonb"):
            cursor.adapters.register_loader(kind, JsonLoader)
        return cursor.execute(query.encode(), values).fetchall()

    def manage(self, *arguments: str) -> str:
        """What a management command prints, and what it complains of."""
        printed = StringIO()
        with suppress(CommandError):
            call_command(*arguments, stdout=printed)
        return printed.getvalue().strip()

    def pages(self) -> Sequence[Scrape]:
        """The metrics of this process."""
        lines = Client().get("/metrics").content.decode().splitlines()
        # Parsing is slow, and the invariants look at no others.
        return [parsed("\n".join(line for line in lines if _COUNTED.search(line)))]

    # What a running gateway does

    def recover(self) -> None:
        """Do what the sweep wakes workers for, as if all the waiting in between were over."""
        for _ in range(ROUNDS):
            self.let_time_pass()
            approvals.tasks.expire_overdue()
            for name in outbox.channels():
                approvals.tasks.deliver(name)
            agents.tasks.advance_runs()
            agents.tasks.flag_stuck_runs()
            if not self._owes():
                return

    def let_time_pass(self) -> None:
        """Let every lease and every wait be over."""
        earlier = "clock_timestamp() - interval '1 second'"
        for model in (Delivery, Run):
            self._update(f"{model._meta.db_table} SET not_before = LEAST(not_before, {earlier})")
            self._update(
                f"{model._meta.db_table} SET lease_until = {earlier} WHERE lease_until IS NOT NULL"
            )
        self._update(
            f"{Execution._meta.db_table} SET lease_until = {earlier} WHERE status = 'started'"
        )

    def _update(self, what: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {what}")

    def _owes(self) -> bool:
        return any(model.objects.filter(model.is_owed()).exists() for model in (Delivery, Run))

    # What people do

    def needs_somebody(self) -> Sequence[Run]:
        """The runs that wait for a person's word."""
        return list(Run.objects.filter(status=RunStatus.NEEDS_ATTENTION))

    def settle_runs(self) -> None:
        """Olga looks what each run that needs attention has done, and says how it goes on."""
        happened = Facts(self, ()).effects
        labels = {effect["options"]["label"] for effect in happened.get("", ())}
        for run in self.needs_somebody():
            keys = Execution.objects.filter(run=run).values_list("key", flat=True)
            done = run.task.get("label") in labels or any(happened.get(key) for key in keys)
            agents.services.settle_run(
                run.pk,
                "done" if done else "retry",
                actor=self.actor("olga"),
                reason="I have looked.",
            )
        self.recover()

    def breaches(self, lives: Sequence[Life], *, without: Collection[str] = ()) -> list[str]:
        """What does not hold now, of what the channels make hold."""
        for channel, check in (("linear", "one_issue_each"), ("github", "comments_are_right")):
            if channel not in outbox.channels():
                without = {*without, check}
        facts = Facts(self, [vars(life) for life in lives])
        return [
            f"{check.__name__}: {sentence}"
            for check in EVERY
            if check.__name__ not in without
            for sentence in check(facts)
        ]


def turn() -> None:
    """Give the one run that is owed a turn its turn."""
    assert turns.advance_next()

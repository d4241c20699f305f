"""`manage.py assess`: what the rules and policies say about a task; opens nothing."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from approvals.core.lifecycle import Policy
from approvals.core.risk import Assessment
from approvals.errors import InvalidInput
from approvals.policy import choose_policy
from approvals.services import assess_task
from approvals.wording import duration, plain


class Command(BaseCommand):
    """Assesses one task by the files of this machine."""

    help = (
        "Show a task's risk, the rules that match and who would decide it; opens nothing."
        " The file holds the task alone, or a body as POST /api/approvals takes it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the file, and the agent where the file does not name it."""
        parser.add_argument("file", metavar="TASK.json", help="a file, or - for standard input")
        parser.add_argument("--agent", default="", help="the agent that would do it")

    def handle(self, *_: Any, **options: Any) -> None:
        """Print the assessment."""
        content = _read(options["file"])
        wrapped = "operation" not in content and isinstance(content.get("task"), dict)
        task = content["task"] if wrapped else content
        agent = options["agent"] or (str(content.get("agent_name", "")) if wrapped else "")
        stated = content.get("risk_level") if wrapped else None
        try:
            assessment = assess_task(task, agent, stated)
        except InvalidInput as refusal:
            raise CommandError(str(refusal)) from refusal
        for line in _told(assessment):
            self.stdout.write(line)
        if assessment.requires_approval:
            for line in _deciders(choose_policy(assessment.risk_level, agent, task)):
                self.stdout.write(line)


def _read(name: str) -> Mapping[str, Any]:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        content = json.loads(text)
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{name} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise CommandError(f"{name} holds no JSON object.")
    return content


def _told(assessment: Assessment) -> Iterator[str]:
    needed = "needed" if assessment.requires_approval else "not needed"
    yield f"Risk: {assessment.risk_level}"
    yield f"Approval: {needed}"
    yield "Rules that match:"
    for match in assessment.matches:
        yield f"  {match.rule} ({match.risk_level}): {plain(match.reason)}"


def _deciders(policy: Policy) -> Iterator[str]:
    people = User.objects.filter(is_active=True, groups__name__in=policy.groups)
    names = sorted(set(people.values_list("username", flat=True)))
    yield f"Policy: {policy.name}"
    yield f"Who may decide: members of {' or '.join(policy.groups)}, {policy.quorum} of them"
    yield f"People in these groups now: {', '.join(names) or 'nobody'}"
    if len(names) < policy.quorum:
        yield f"Too few: {policy.quorum} must approve."
    asker = "may" if policy.requester_may_decide else "may not"
    yield f"Whoever asks {asker} decide."
    yield f"It expires after {duration(policy.expires_after_seconds)}."
    yield f"Once approved, it must run within {duration(policy.execute_within_seconds)}."

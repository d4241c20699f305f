"""A harmless program that stands for deploy scripts, terraform and their like.

Run as `python -m sandbox.program OPERATION [--seconds N] [--fail] [--NAME VALUE]...`.
It prints what such a program would print, appends one JSON line to `effects.jsonl` in the folder
named by HITL_DATA_DIR as its only effect, then stays busy for `--seconds`. `--fail` has no effect
and exits with status 3. Standard library only.
"""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

EFFECTS = "effects.jsonl"
FAILURE_STATUS = 3

# What each operation says while it works; any other one says only that it was done.
STORIES: Mapping[str, tuple[str, ...]] = {
    "deploy": (
        "Fetching release {version}",
        "Replacing the instances of {service} in {environment}, one at a time",
        "Health check answered 200 on all instances",
    ),
    "rollback": (
        "Looking up the release before the current one of {service}",
        "Returning {service} in {environment} to {version}",
    ),
    "terraform_apply": (
        "Refreshing the state of {environment}",
        "Applying the plan of module {module}",
        "Apply complete: 2 added, 1 changed, 0 destroyed",
    ),
    "docker_compose_up": ("Pulling images of {project}", "Containers of {project} are running"),
    "k8s_apply": ("Applying {manifest} to {environment}", "Rollout finished"),
    "restart_service": ("Restarting {service} in {environment}", "{service} is ready"),
    "scale_service": ("Setting {service} in {environment} to {replicas} replicas",),
    "run_tests": ("Collecting tests of {target}", "214 passed"),
    "lint": ("Checking {target}", "No findings"),
    "build": ("Building {target}", "Image built and tagged"),
    "plan": ("Reading {topic}", "Plan written"),
    "write_code": ("Changing {target}", "Branch pushed"),
    "review_code": ("Reading the changes of {target}", "No blocking findings"),
    "update_docs": ("Rendering {page}", "Published"),
}


def main(arguments: Sequence[str]) -> int:
    """Do one operation and give the exit status; 2 where it cannot be understood."""
    if not arguments or arguments[0].startswith("-"):
        _say("Name an operation first, such as: deploy --environment staging --version v2.5.0")
        return 2
    operation, options = arguments[0], _options(arguments[1:])
    _say(f"{operation}: starting")
    for line in STORIES.get(operation, ()):
        _say("  " + line.format_map(_Known(options)))
    if "fail" in options:
        _say(f"{operation}: failed, and changed nothing")
        return FAILURE_STATUS
    record_effect(operation, options)
    time.sleep(float(options.get("seconds", "0")))
    _say(f"{operation}: done")
    return 0


def record_effect(operation: str, options: Mapping[str, str]) -> None:
    """Append the effect as one line, in one write, so that lines of two processes never mix."""
    effect = {
        "operation": operation,
        "environment": options.get("environment", ""),
        "version": options.get("version", ""),
        "options": dict(options),
        "idempotency_key": os.environ.get("HITL_IDEMPOTENCY_KEY", ""),
        "pid": os.getpid(),
        "at": datetime.now(UTC).isoformat(),
    }
    folder = Path(os.environ.get("HITL_DATA_DIR") or "var")
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / EFFECTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, json.dumps(effect).encode() + b"\n")
    finally:
        os.close(descriptor)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class _Known(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return f"(no {name} given)"


def _options(words: Sequence[str]) -> dict[str, str]:
    """`--name value` pairs, dashes in names as underscores; a name without a value stands alone."""
    options: dict[str, str] = {}
    rest = list(words)
    while rest:
        name = rest.pop(0).removeprefix("--").replace("-", "_")
        options[name] = rest.pop(0) if rest and not rest[0].startswith("--") else ""
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

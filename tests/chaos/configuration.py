"""The shipped configuration, with a workflow of two steps, quick operations, and their policies."""

import shutil
from pathlib import Path
from typing import Any

import yaml

SHIPPED = Path(__file__).resolve().parents[2] / "config"
# The shortest that a rare wait for PostgreSQL or for the other side fits into.
TIMEOUT_SECONDS = 4
BRIEF_SECONDS = 2


def _command(name: str, *, idempotent: bool) -> dict[str, Any]:
    return {
        "description": f"Take effect as {name}, and be at work for a moment.",
        "timeout_seconds": TIMEOUT_SECONDS,
        "idempotent": idempotent,
        "arguments": {"label": {"description": "Whose it is.", "pattern": "[a-z0-9-]{1,60}"}},
        "command": {"argv": ["python", "-m", "tests.chaos.program", name, "{arguments.label}"]},
    }


OPERATIONS = {
    "repair": _command("repair", idempotent=True),
    "replace": _command("replace", idempotent=False),
    "pair": _command("pair", idempotent=False),
    "brief": _command("brief", idempotent=True),
}
CHANGEOVER = {
    "name": "changeover",
    "description": "Migrate a database, then deploy what needs it",
    "parameters": {"label": "main"},
    "steps": [
        {
            "name": "migrate",
            "agent": "infrastructure",
            "operation": "db_migrate",
            "environment": "{environment}",
            "arguments": {"database": "{arguments.label}"},
        },
        {
            "name": "deploy",
            "agent": "cicd",
            "operation": "deploy",
            "environment": "{environment}",
            "arguments": {"service": "{arguments.label}"},
            "otherwise": ["undo"],
        },
    ],
    "rollback": [
        {
            "name": "undo",
            "agent": "cicd",
            "operation": "rollback",
            "environment": "staging",
            "arguments": {"service": "{arguments.label}"},
        }
    ],
}
POLICIES = (
    {
        "name": "soon over",
        "match": {"operation": "brief"},
        "groups": ["release-managers"],
        "expires_after_seconds": BRIEF_SECONDS,
    },
    {
        "name": "two people",
        "match": {"operation": "pair"},
        "groups": ["release-managers"],
        "quorum": 2,
    },
)


def write_configuration(folder: Path) -> Path:
    """Write the configuration into a new folder and return it."""
    shutil.copytree(SHIPPED, folder)
    operations = folder / "hitl" / "operations.yaml"
    known = yaml.safe_load(operations.read_text())
    known["operations"] |= OPERATIONS
    for name in ("deploy", "rollback", "db_migrate", "merge_pull_request", "run_ci"):
        known["operations"][name]["timeout_seconds"] = TIMEOUT_SECONDS
    operations.write_text(yaml.safe_dump(known))
    (folder / "workflows" / "changeover.yaml").write_text(yaml.safe_dump(CHANGEOVER))
    policies = folder / "hitl" / "approval-policies.yaml"
    known = yaml.safe_load(policies.read_text())
    known["policies"][:0] = POLICIES
    policies.write_text(yaml.safe_dump(known))
    return folder

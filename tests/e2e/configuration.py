"""The shipped configuration, with a few operations and a policy that only tests have a use for."""

import shutil
from pathlib import Path
from typing import Any

import yaml

SHIPPED = Path(__file__).resolve().parents[2] / "config"
BRIEF_SECONDS = 2


def _operation(name: str, *, idempotent: bool) -> dict[str, Any]:
    return {
        "description": f"Take effect as {name}, then wait at the gate, if there is one.",
        # A crashed one is known as such 20 s after its time is over, so the time is short.
        "timeout_seconds": 12,
        "idempotent": idempotent,
        "arguments": {"label": {"description": "Whose it is.", "pattern": "[a-z0-9-]{1,60}"}},
        "command": {"argv": ["python", "-m", "tests.e2e.program", name, "{arguments.label}"]},
    }


OPERATIONS = {
    "repair": _operation("repair", idempotent=True),
    "replace": _operation("replace", idempotent=False),
    "brief": _operation("brief", idempotent=True),
}
BRIEF_POLICY = {
    "name": "soon over",
    "match": {"operation": "brief"},
    "groups": ["release-managers"],
    "expires_after_seconds": BRIEF_SECONDS,
}


def write_configuration(folder: Path) -> Path:
    """Write the configuration into a new folder and return it."""
    shutil.copytree(SHIPPED, folder)
    operations = folder / "hitl" / "operations.yaml"
    known = yaml.safe_load(operations.read_text())
    known["operations"] |= OPERATIONS
    operations.write_text(yaml.safe_dump(known))
    policies = folder / "hitl" / "approval-policies.yaml"
    known = yaml.safe_load(policies.read_text())
    known["policies"].insert(0, BRIEF_POLICY)
    policies.write_text(yaml.safe_dump(known))
    return folder

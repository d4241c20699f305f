"""What only some tests need: they skip where it is missing, and fail where CI promised it."""

import os
import shutil
from pathlib import Path

import pytest


def skip_or_fail(reason: str) -> None:
    """Skip the test, saying why; with CI=true fail it, because there nothing may be missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason} (With CI=true this is a failure.)")
    pytest.skip(reason)


def require_tool(name: str, how_to_install: str) -> str:
    """Return the path of a program, or skip the test saying how to install it."""
    found = shutil.which(name)
    if found is None:
        skip_or_fail(f"This test needs {name}: {how_to_install}.")
    return str(found)


def require_contracts() -> Path:
    """Return the folder of the vendors' schemas and examples, or skip the test naming it."""
    named = os.environ.get("HITL_CONTRACTS_DIR", "")
    if not named:
        skip_or_fail(
            "This test needs the vendors' schemas: set HITL_CONTRACTS_DIR to their folder."
        )
    folder = Path(named)
    if not folder.is_dir():
        skip_or_fail(f"HITL_CONTRACTS_DIR names {folder}, which is no folder.")
    return folder

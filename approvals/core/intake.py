"""Refuse, before anything is stored, what PostgreSQL, a checkpoint or a reader could choke on."""

import re
from collections.abc import Collection, Mapping
from math import isfinite
from typing import Any

from approvals.core.canonical import canonical_json

MAX_TASK_BYTES = 65_536
MAX_DEPTH = 20
# What people say with a vote or as a reason, in characters.
MAX_WORDS = 4000
# A lone surrogate cannot be stored or sent as UTF-8, a NUL neither stored nor passed to a program.
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# An owner and a name; a name of dots alone would lead an address elsewhere.
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,100}")
_PULL = re.compile(
    r"https?://(?P<host>[^/\s]+)(?:/[^/\s]+)*?/(?P<repo>[^/\s]+/[^/\s]+)/pull/(?P<number>[0-9]+)/?"
)


def text_fault(value: str, limit: int) -> str | None:
    """Why a text cannot be stored, as the end of a sentence, or None."""
    if UNSTORABLE.search(value):
        return "contains a NUL or a lone surrogate"
    if len(value) > limit:
        return f"is longer than {limit} characters"
    return None


def harmless(value: Any) -> Any:
    """The value as plain JSON that can be stored: foreign types as text, bad characters marked."""
    if isinstance(value, str):
        return UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {harmless(str(key)): harmless(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [harmless(item) for item in value]
    return harmless(str(value))


def task_fault(task: Mapping[str, Any]) -> str | None:
    """Why a task cannot be taken, as the end of a sentence, or None."""
    operation = task.get("operation")
    if not isinstance(operation, str) or not operation.strip():
        return "needs an operation"
    if (fault := text_fault(operation, 200)) is not None:
        return f"has an operation that {fault}"
    environment = task.get("environment", "")
    if environment is not None and not isinstance(environment, str):
        return "has an environment that is not a text"
    if environment and (fault := text_fault(environment, 200)) is not None:
        return f"has an environment that {fault}"
    return json_fault(task)


def json_fault(value: Any) -> str | None:
    """Why a value cannot be kept as JSON, as the end of a sentence, or None."""
    try:
        text = canonical_json(value)
    except (TypeError, ValueError, RecursionError):
        return "is not plain JSON"
    if len(text) > MAX_TASK_BYTES:
        return f"is larger than {MAX_TASK_BYTES // 1024} KiB as JSON"
    return _deep_fault(value, 0)


def _deep_fault(value: Any, depth: int) -> str | None:
    if depth > MAX_DEPTH:
        return f"is nested deeper than {MAX_DEPTH} levels"
    if isinstance(value, str):
        return text_fault(value, MAX_TASK_BYTES)
    if isinstance(value, Mapping):
        parts: list[Any] = [*value.keys(), *value.values()]
    elif isinstance(value, (list, tuple)):
        parts = list(value)
    else:
        return None
    return next((fault for part in parts if (fault := _deep_fault(part, depth + 1))), None)


def pull_request_fault(
    number: int | None, url: str, repository: str, hosts: Collection[str]
) -> tuple[str, str] | None:
    """The field and why the three do not name one pull request on one of the hosts, or None."""
    if repository and not REPOSITORY.fullmatch(repository):
        return "github_repo", "must look like owner/name"
    if number is not None and not 0 < number < 2**31:
        return "pr_number", "must be a positive number"
    if not url:
        return None
    match = _PULL.fullmatch(url)
    # What shows nothing, or turns the text around, would show another address than it leads to.
    if match is None or not url.isprintable():
        return "pr_url", "must be the address of a pull request, https://HOST/owner/name/pull/1"
    if match["host"].casefold() not in hosts:
        return "pr_url", f"must be on {' or '.join(sorted(hosts))}"
    if repository and match["repo"].casefold() != repository.casefold():
        return "pr_url", f"is not in the repository {repository}"
    if number is not None and int(match["number"]) != number:
        return "pr_url", f"is not pull request {number}"
    return None

"""Rows, moments and events in words for people; the pages and the admin say the same."""

import json
import shlex
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from approvals.core.events import GITHUB, LINEAR, WORKFLOW, EventName
from approvals.core.lifecycle import Choice, Via
from approvals.masking import masked, masked_action

_LONGEST_VERSION = 40
_INVISIBLE = {"Cc", "Cf", "Cn", "Cs", "Co", "Zl", "Zp"}
# Letters and marks that show nothing. Those that choose between two looks of an emoji may stay.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
# More marks on one letter than any language has would paint over what stands around it.
_MARKS, _MOST_MARKS = {"Mn", "Me"}, 4

VIA: Mapping[str, str] = {
    Via.WEB: "on the web",
    Via.ADMIN: "in the admin",
    Via.API: "by the API",
    Via.COMMAND: "by a command",
    Via.SIGN_ON: "",
    Via.LINEAR_MOVE: "by moving the Linear issue",
    Via.LINEAR_COMMENT: "by a comment in Linear",
    Via.LINEAR_REACTION: "by a reaction in Linear",
    Via.SYSTEM: "",
}
CHANNELS = {LINEAR: "Linear", GITHUB: "GitHub", WORKFLOW: "the workflow"}


def plain(text: object, keep: str = "") -> str:
    """The text with every invisible character written as a JSON escape, except those in `keep`.

    So nothing in a text from outside can hide words, turn their direction around or cover others.
    """
    text = str(text)
    if text.isascii() and text.isprintable():
        return text
    shown, marks = [], 0
    for char in text:
        category = unicodedata.category(char)
        marks = marks + 1 if category in _MARKS else 0
        hidden = category in _INVISIBLE or char in _BLANK or marks > _MOST_MARKS
        shown.append(_escape(char) if hidden and char not in keep else char)
    return "".join(shown)


def _escape(char: str) -> str:
    return json.dumps(char)[1:-1] if ord(char) != 0x7F else "\\u007f"


def readable_json(value: Any) -> str:
    """JSON over several lines; still JSON, and nothing in it is invisible."""
    return plain(json.dumps(value, indent=2, ensure_ascii=False, default=str), keep="\n")


def headline(title: str) -> str:
    """A request's title as a heading: "Terraform apply to production"."""
    words = plain(" ".join(title.replace("_", " ").split()))
    return words[:1].upper() + words[1:]


VERSION = "version"


def heading(operation: str, environment: str, task: Mapping[str, Any]) -> str:
    """What is asked for as a heading, with the version if there is one: "Deploy v2.5.0 to …"."""
    given = masked(task).get("arguments")
    version = given.get(VERSION) if isinstance(given, Mapping) else None
    title = operation
    if isinstance(version, str | int | float) and 0 < len(str(version)) <= _LONGEST_VERSION:
        title += f" {version}"
    return headline(f"{title} to {environment}" if environment else title)


def confirmation(environment: str, operation: str) -> str:
    """What to type before something critical: the environment, or the operation without one."""
    return plain(" ".join((environment or operation).split()))


def duration(seconds: float) -> str:
    """A span in its two largest units, such as "3 h 20 min" or "1 min 30 s"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    counts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((place for place, (count, _) in enumerate(counts) if count), 3)
    return (
        " ".join(f"{count} {unit}" for count, unit in counts[first : first + 2] if count) or "0 s"
    )


def relative(moment: datetime, now: datetime) -> str:
    """How far a moment is from now: "in 3 h 20 min", "5 min ago"."""
    seconds = (moment - now).total_seconds()
    away = abs(seconds)
    if away < 1:
        return "now"
    # Seconds beside minutes are out of date as soon as they are read.
    words = duration(away if away < 60 else away // 60 * 60)
    return f"in {words}" if seconds > 0 else f"{words} ago"


@dataclass(frozen=True)
class Work:
    """What will run, for people: which kind, and the exact words; `body` is what is sent along.

    An action of an unknown kind has no words, only its JSON as the body.
    """

    kind: str
    words: tuple[str, ...]
    body: str = ""
    facts: tuple[tuple[str, str], ...] = ()


def work(task: Mapping[str, Any], action: Mapping[str, Any] | None) -> Work | None:
    """The frozen action in words, secrets masked; None where the workflow itself does the work."""
    if action is None:
        return None
    shown = masked_action(task, action)
    if isinstance(argv := shown.get("argv"), list):
        words = tuple(plain(shlex.quote(str(word))) for word in argv)
        facts = (("Folder", plain(shown.get("cwd", "."))), *_variables(shown))
        return Work("Command, without a shell", words, facts=(*facts, *_common(shown)))
    if "url" in shown:
        words = (plain(shown.get("method", "POST")), plain(shown["url"]))
        headers = ", ".join(plain(name) for name in shown.get("headers_env") or {})
        facts = (("Headers", headers),) if headers else ()
        return Work("HTTP call", words, readable_json(shown.get("body")), (*facts, *_common(shown)))
    if "workflow" in shown:
        words = tuple(
            plain(part)
            for part in (shown["workflow"], "in", shown.get("repo"), "at", shown.get("ref"))
        )
        inputs = shown.get("inputs")
        return Work(
            "GitHub workflow run", words, readable_json(inputs) if inputs else "", _common(shown)
        )
    return Work("Action", (), readable_json(shown))


_CHANGE = {
    "Title": ("pr_title", "title"),
    "Branch": ("branch", "head_ref"),
    "Commit": ("commit", "commit_sha", "sha"),
}


def change(task: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Which change the task itself says it is about: title, branch and commit, as far as given."""
    shown = masked(task)
    given = shown.get("arguments")
    places = [shown, given] if isinstance(given, Mapping) else [shown]
    found = []
    for label, keys in _CHANGE.items():
        values = (place.get(key) for place in places for key in keys)
        value = next((text for text in values if isinstance(text, str) and text.strip()), "")
        if value:
            found.append((label, plain(" ".join(value.split()))))
    return tuple(found)


def arguments(task: Mapping[str, Any], *, without: str = "") -> str:
    """The task's plain arguments on one line, secrets masked: "version v2.5.0, service web"."""
    given = masked(task).get("arguments")
    if not isinstance(given, Mapping):
        return ""
    pairs = [
        f"{name} {value}"
        for name, value in given.items()
        if isinstance(value, str | int | float) and name != without
    ]
    return plain(" ".join(", ".join(pairs).split()))


def _variables(action: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    names = ", ".join(plain(name) for name in action.get("pass_env") or [])
    return (("Variables handed on", names),) if names else ()


def _common(action: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    facts = []
    if isinstance(timeout := action.get("timeout_seconds"), int):
        facts.append(("Time limit", duration(timeout)))
    if isinstance(idempotent := action.get("idempotent"), bool):
        repeated = "Repeated by itself" if idempotent else "Waits for a person to look"
        facts.append(("After a crash", repeated))
    return tuple(facts)


@dataclass(frozen=True)
class Told:
    """An audit entry in words: what the actor did, and the words they gave with it."""

    phrase: str
    quote: str = ""


def told(name: str, data: Mapping[str, Any], actor: str) -> Told:
    """The words for an audit entry, to follow its actor's name; an unknown name stands as it is."""
    if name in _PHRASES:
        return _PHRASES[EventName(name)]({**data, "actor": actor})
    return Told(name, _text(data, "reason"))


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    return plain(value, keep="\n") if value else ""


def _channel(data: Mapping[str, Any]) -> str:
    name = str(data.get("channel", ""))
    return CHANNELS.get(name, plain(name)) or "a channel"


def _opened(data: Mapping[str, Any]) -> Told:
    asker = _text(data, "requested_by")
    for_whom = f" for {asker}" if asker and asker != _text(data, "actor") else ""
    return Told(f"opened the request{for_whom}")


def _let_through(data: Mapping[str, Any]) -> Told:
    what = plain(data.get("operation") or "the operation")
    where = f" in {plain(data['environment'])}" if data.get("environment") else ""
    return Told(f"let {what}{where} run: the rules ask for no approval")


def _voted(data: Mapping[str, Any]) -> Told:
    count = f" ({data.get('approvals')} of {data.get('quorum')})"
    approves = data.get("choice") == Choice.APPROVE
    return Told(
        f"voted to approve{count}" if approves else "voted to reject", _text(data, "comment")
    )


def _refused(data: Mapping[str, Any]) -> Told:
    tried = "reject" if data.get("choice") == Choice.REJECT else "approve"
    return Told(f"tried to {tried} and was refused", _text(data, "sentence"))


def _delivered(data: Mapping[str, Any]) -> Told:
    reference = _text(data, "reference")
    return Told(f"told {_channel(data)}" + (f" ({reference})" if reference else ""))


def _ended(data: Mapping[str, Any]) -> Told:
    return Told(f"ended the run as {plain(data.get('status', 'unknown'))}")


def _settled(data: Mapping[str, Any]) -> Told:
    return Told(
        f"settled the run as {plain(data.get('outcome', 'unknown'))}", _text(data, "reason")
    )


def _executed(data: Mapping[str, Any]) -> Told:
    phrases = {
        "failed": "tried to carry the operation out, and it failed",
        "unknown": "cannot tell whether the operation was carried out",
        "held": "could not begin the operation",
    }
    phrase = phrases.get(str(data.get("status")), "carried the operation out")
    if data.get("settled"):
        happened = data.get("status") == "succeeded"
        phrase = f"counted the operation as {'done' if happened else 'not done'}"
    return Told(phrase, _text(data, "summary"))


def _says(phrase: str, key: str = "reason") -> Callable[[Mapping[str, Any]], Told]:
    return lambda data: Told(phrase, _text(data, key))


_PHRASES: Mapping[EventName, Callable[[Mapping[str, Any]], Told]] = {
    EventName.NOT_REQUIRED: _let_through,
    EventName.OPENED: _opened,
    EventName.APPROVED: lambda _: Told("approved the request"),
    EventName.REJECTED: lambda _: Told("rejected the request"),
    EventName.EXPIRED: _says("let the request expire"),
    EventName.CANCELLED: _says("cancelled the request"),
    EventName.SUPERSEDED: _says("replaced the request by a newer one"),
    EventName.RESUME_REFUSED: _says("did not use the decision"),
    EventName.VOTE_CAST: _voted,
    EventName.VOTE_REFUSED: _refused,
    EventName.DELIVERY_SUCCEEDED: _delivered,
    EventName.DELIVERY_FAILED: lambda data: Told(
        f"could not reach {_channel(data)} and will try again", _text(data, "error")
    ),
    EventName.DELIVERY_GAVE_UP: lambda data: Told(
        f"gave up on {_channel(data)}", _text(data, "error")
    ),
    EventName.DELIVERY_RETRIED: lambda data: Told(
        f"asked to try {_channel(data)} again", _text(data, "reason")
    ),
    EventName.RUN_STARTED: _says("started the run"),
    EventName.RUN_ENDED: _ended,
    EventName.RUN_CANCELLED: _says("cancelled the run"),
    EventName.RUN_SETTLED: _settled,
    EventName.RUN_NEEDS_ATTENTION: _says("stopped the run: somebody must look at it"),
    EventName.APPROVER_SAVED: _says("saved an approver", "name"),
    EventName.TOKEN_CREATED: _says("created a token", "label"),
    EventName.TOKEN_REVOKED: _says("revoked a token"),
    EventName.DATABASE_ACCEPTED: _says("accepted the database after it had been restored"),
    EventName.EXECUTION_STARTED: _says("began to carry the operation out", "operation"),
    EventName.EXECUTION_FINISHED: _executed,
}

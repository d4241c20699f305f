"""Bodies of `POST /resume`: Linear's own, changed, cut, signed wrongly, of whoever and whenever."""

import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from hypothesis import strategies as st

from tests.fuzz.documents import alter
from tests.fuzz.findings import Finding
from tests.fuzz.rights import APPROVER, OWN, STAFFER, STRANGER, Rights, new_requests
from tests.integrations import linear_world

SECRET = "a secret of the tests"
FRESH_SECONDS = 60
LONGEST_SECONDS = 5.0
# What the answer says where the gateway's own user moved the issue, by its key.
OWN_DOING = "this is the gateway's own doing"
# What the answer says where a vote was cast.
_CAST = {"resumed", "rejected", "recorded"}

Send = Callable[[bytes, Mapping[str, str]], tuple[int, bytes]]

_texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        (
            *(
                "Done",
                "Canceled",
                "done ",
                "\u0130",
                "/approve",
                "/reject no",
                "/approve\x00",
                "+1",
            ),
            *("-1", "user", "update", "create", "Issue", "Comment", "Reaction", "\ud800", "\x00"),
            *(APPROVER, STAFFER, STRANGER, OWN, "2026-11-20T10:15:30.123Z", "9999-12-31T23:59:59Z"),
            *("0001-01-01T00:00:00+23:59", "x" * 5000),
        )
    ),
)
_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from((0, -1, 2**63, 10**400, 1e400, -1e400, 1e15, 1e308)),
        st.floats(),
        _texts,
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(_texts, inner, max_size=3)
    ),
    max_leaves=6,
)


@dataclass(frozen=True)
class Hook:
    """One webhook to send; `number` says to which of the requests that wait it is about.

    `age` is how old it says it is when it is sent, in seconds; None leaves the sample's own time.
    `cuts` replace bytes of the finished body. One that `repeats` has a delivery's id that came
    before, and what is told there an id that was told before.
    """

    event: Mapping[str, Any]
    number: int
    age: float | None
    signature: str
    cuts: tuple[tuple[int, bytes], ...]
    repeats: bool
    headers: Mapping[str, str]


def samples() -> list[dict[str, Any]]:
    """Bodies as Linear sends them: the least that says something, and whole ones where known.

    The whole ones come from the folder that HITL_CONTRACTS_DIR names.
    """
    found = [
        linear_world.move_event("", "Done"),
        linear_world.move_event("", "Canceled"),
        linear_world.comment_event("", "/approve Fine."),
        linear_world.comment_event("", "/reject Not today."),
        linear_world.reaction_event("", "+1"),
    ]
    named = os.environ.get("HITL_CONTRACTS_DIR", "")
    whole = sorted((Path(named) / "linear").glob("*.json")) if named else []
    return found + [json.loads(path.read_text()) for path in whole]


@st.composite
def hooks(draw: st.DrawFn, events: list[dict[str, Any]]) -> Hook:
    """Webhooks: real ones with a change or two, for the most part signed and fresh."""
    event = json.loads(json.dumps(draw(st.sampled_from(events))))
    person = draw(st.sampled_from((APPROVER, APPROVER, STAFFER, STRANGER, OWN)))
    event["actor"]["id"] = person
    if "userId" in event["data"]:
        event["data"]["userId"] = person
    for _ in range(draw(st.integers(0, 3))):
        alter(draw, event, _values, _texts)
    cut = st.tuples(st.integers(0, 4000), st.binary(max_size=4))
    return Hook(
        event,
        number=draw(st.integers(0, 99)),
        age=draw(st.sampled_from((0, 0, 0, 0, 59, 61, 3600, -61, None))),
        signature=draw(
            st.sampled_from(("right",) * 6 + ("none", "other", "body", "upper", "text"))
        ),
        cuts=draw(st.one_of(st.just(()), st.just(()), st.lists(cut, max_size=3).map(tuple))),
        repeats=draw(st.sampled_from((False,) * 9 + (True,))),
        headers=draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "Linear-Event": st.sampled_from(("Issue", "Comment", "")),
                    "Content-Type": st.sampled_from(
                        ("application/json; charset=utf-8", "text/plain", "", "multipart/form-data")
                    ),
                },
            )
        ),
    )


class Hooks:
    """Sends webhooks about requests that wait, and judges what is answered."""

    def __init__(self, send: Send, rights: Rights) -> None:
        self._send, self._rights = send, rights
        self._waiting: list[UUID] = []

    def judge(self, hook: Hook) -> str:
        """What became of a webhook; raises Finding."""
        if len(self._waiting) < 3:
            self._waiting += new_requests()
        body = self._body(hook)
        delivery = {"Linear-Delivery": "again" if hook.repeats else str(uuid4())}
        headers = {**delivery, **hook.headers, **self._signature(hook.signature, body)}
        vote = _vote(body) if hook.signature == "right" else None
        if vote:
            self._rights.allow(*vote)
        began = time.monotonic()
        status, answered = self._send(body, headers)
        if (took := time.monotonic() - began) > LONGEST_SECONDS:
            raise Finding(f"an answer took too long for Linear: {took:.0f} s")
        if status != (200 if hook.signature == "right" else 401):
            raise Finding(f"the answer to a signature that is {hook.signature} is {status}")
        answer = json.loads(answered)
        became = str(answer.get("status", status))
        if became in _CAST and vote is None:
            raise Finding(f"a body that says nothing was {became}: {body[:1500]!r}")
        if became in _CAST and vote:
            self._waiting = [request_id for request_id in self._waiting if request_id != vote[0]]
        return OWN_DOING if answer.get("reason") == OWN_DOING else became

    def _body(self, hook: Hook) -> bytes:
        event = dict(hook.event)
        request_id = str(self._waiting[hook.number % len(self._waiting)])
        data = event.get("data")
        if isinstance(data, dict):
            data = event["data"] = dict(data)
            if isinstance(data.get("id"), str):
                new = "00000000-0000-4000-8000-000000000000" if hook.repeats else str(uuid4())
                data["id"] = request_id if event.get("type") == "Issue" else new
            if isinstance(data.get("issueId"), str):
                data["issueId"] = request_id
        if hook.age is not None and "webhookTimestamp" in event:
            event["webhookTimestamp"] = int((time.time() - hook.age) * 1000)
        body = bytearray(json.dumps(event).encode())
        for at, instead in hook.cuts:
            body[at : at + len(instead)] = instead
        return bytes(body)

    @staticmethod
    def _signature(kind: str, body: bytes) -> Mapping[str, str]:
        secret = "another secret" if kind == "other" else SECRET
        signed = body + b" " if kind == "body" else body
        right = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        if kind == "none":
            return {}
        # No letter is no other letter in capitals.
        upper = right.upper() if right.upper() != right else "0"
        return {"Linear-Signature": {"upper": upper, "text": "sha256=x"}.get(kind, right)}


def _vote(body: bytes) -> tuple[UUID, str] | None:
    """The vote that Linear's contract lets the approver cast by this body, if any.

    Written from the contract alone: who acted, on what, when, and what it says at the least.
    """
    try:
        event = json.loads(body)
        actor, data = event["actor"], event["data"]
        fresh = (
            abs(time.time() - event["webhookTimestamp"] / 1000) <= FRESH_SECONDS + LONGEST_SECONDS
        )
        if not fresh or actor["type"] != "user" or actor["id"] != APPROVER:
            return None
        if event["type"] == "Issue":
            moved = event["action"] == "update" and "stateId" in event["updatedFrom"]
            choice = _STATES.get(data["state"]["name"].strip().casefold()) if moved else None
            return (UUID(data["id"]), choice) if choice else None
        if event["action"] != "create" or data["userId"] != APPROVER:
            return None
        said = data["body"] if event["type"] == "Comment" else data["emoji"]
        choice = next(
            (c for word, c in _WORDS.items() if said.strip().lower().startswith(word)), ""
        )
        place = data.get("issueId") or (data.get("comment") or data.get("issue"))
        place = place if isinstance(place, str) else place.get("issueId") or place["id"]
        return (UUID(place), choice) if choice else None
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return None


_STATES = {"done": "approve", "approved": "approve", "canceled": "reject", "rejected": "reject"}
_WORDS = {
    "/approve": "approve",
    "/reject": "reject",
    "+1": "approve",
    "-1": "reject",
    "thumbsup": "approve",
    "thumbsdown": "reject",
    "\U0001f44d": "approve",
    "\U0001f44e": "reject",
}

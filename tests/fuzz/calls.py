"""Calls of the API that its own OpenAPI document describes, and calls that it forbids.

Each is made by somebody: without a token, with one that is none, or with one that may do less than
is asked. Answers are held to the document: statuses, types and bodies.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast
from uuid import UUID

import hypothesis
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from requests import RequestException
from schemathesis import Case, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation.stateful import run_state_machine_as_test
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

from tests.fuzz.findings import Finding, Findings, quiet
from tests.fuzz.rights import Rights

AnyCase = Case[Any]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
STATEFUL = "calls in a row"
ROWS, STEPS = 30, 10
# Who may do what beyond reading, by the end of the path; a token acts in its scope alone.
_MAY = {
    "approve": {"approver"},
    "reject": {"approver"},
    "cancel": {"asker"},
    "approvals": {"asker"},
    "workflows": {"asker"},
}
# What the document cannot say: tasks that stand for something, in calls that are right.
_NAMED = {"workflow_id": "wf-1", "thread_id": "th-1", "agent_name": "cicd"}
_DEPLOY = {"operation": "deploy", "environment": "production"}
_TASKS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "approvals": (
        {"task": _DEPLOY},
        {**_NAMED, "task": _DEPLOY},
        {**_NAMED, "task": {"operation": "db_migrate", "environment": "staging"}},
        {**_NAMED, "task": {"operation": "update_docs", "environment": "development"}},
    ),
    "workflows": (
        {"workflow": "task", "task": _DEPLOY},
        {"workflow": "hotfix", "task": _DEPLOY},
        {"workflow": "task", "task": {**_DEPLOY, "arguments": {"version": "v2.5.0"}}},
    ),
}
_KNOWN = {"asker", "asker to decide", "staffer", "approver"}
_CHOICES = {"approve", "reject"}


class Calls:
    """Makes calls as anybody, notes which votes may come of them, and judges the answers."""

    def __init__(self, schema: OpenApiSchema, rights: Rights, seed: int, *, waits: bool) -> None:
        self._schema, self._rights, self._waits = schema, rights, waits
        self._random = random.Random(seed)  # noqa: S311 - a repeatable choice
        # Who was let do what they may not, by the case's id.
        self._intruders: dict[str, str] = {}
        self._ids: dict[str, list[str]] = {"reference": [], "workflow_id": []}

    def each(self) -> Iterator[tuple[str, st.SearchStrategy[AnyCase]]]:
        """Every operation with the cases to try: what fits the document, and what does not."""
        for found in self._schema.get_all_operations():
            operation = cast("Any", found).ok()
            yield (
                operation.label,
                st.one_of(
                    operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
                    operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
                ),
            )

    def judge(self, case: AnyCase) -> str:
        """Make the call and judge the answer; raises Finding."""
        for name, known in self._ids.items():
            if name in (case.path_parameters or {}) and known and self._random.random() < 0.5:
                case.path_parameters[name] = self._random.choice(known)
        response = self.send(case, self._random)
        self.check(case, response)
        return f"{response.status_code // 100}xx"

    def in_a_row(self, findings: Findings, inputs: int) -> None:
        """Follow the document's links: what one answer tells is what the next call asks for."""
        calls, seed = self, findings.seed

        class Machine(self._schema.as_state_machine()):  # type: ignore[misc]
            def call(self, case: AnyCase, **_: Any) -> Response:
                findings.inputs[STATEFUL] += 1
                # The same call is made by the same person, as far as Hypothesis can tell.
                known = f"{seed} {case.operation.label} {case.body!r}"
                response = calls.send(case, random.Random(known))  # noqa: S311 - a repeatable choice
                findings.inputs[f"{STATEFUL}: {response.status_code // 100}xx"] += 1
                return response

            def validate_response(self, response: Response, case: AnyCase, **_: Any) -> None:
                try:
                    calls.check(case, response)
                except Finding as finding:
                    findings.note(STATEFUL, finding, case)

        settings = hypothesis.settings(quiet(ROWS), stateful_step_count=STEPS)
        for again in range(inputs):
            if findings.inputs[STATEFUL] >= inputs:
                break
            try:
                run_state_machine_as_test(hypothesis.seed(seed + again)(Machine), settings=settings)
            except Flaky:
                # The same calls were answered otherwise, since others came before them.
                continue
            except RequestException as error:
                findings.note(STATEFUL, error, error.request)

    def send(self, case: AnyCase, chance: random.Random) -> Response:
        """Make the call as somebody."""
        last = case.path.rstrip("/").rpartition("/")[2]
        may = _MAY.get(last, _KNOWN) if case.method == "POST" else _KNOWN
        anybody = list(self._rights.tokens)
        who = chance.choice(chance.choice((sorted(may), anybody)))
        if last in _TASKS and isinstance(case.body, dict) and chance.random() < 0.5:
            case.body = {**case.body, **chance.choice(_TASKS[last])}
        self._shorten_wait(case)
        case.headers.pop("Authorization", None)
        token = self._rights.tokens[who]
        if token:
            case.headers["Authorization"] = f"Bearer {token}"
        if who == "approver" and last in _CHOICES:
            self._note_vote(case, last)
        response = case.call()
        if response.status_code < 300:
            self._learn(response)
            if who not in may:
                self._intruders[case.id] = who
        return response

    def check(self, case: AnyCase, response: Response) -> None:
        """Hold the answer to the document and to what who asked may do; raises Finding."""
        if who := self._intruders.pop(case.id, ""):
            raise Finding(f"{case.operation.label} let in whom it must not: {who}")
        try:
            case.validate_response(response, checks=CHECKS)
        except FailureGroup as group:
            titles = ", ".join(sorted({failure.title for failure in group.exceptions}))
            raise Finding(f"{case.operation.label} {titles}: {group}") from group

    def _note_vote(self, case: AnyCase, choice: str) -> None:
        try:
            self._rights.allow(UUID(str(case.path_parameters["reference"])), choice)
        except ValueError:
            return

    def _learn(self, response: Response) -> None:
        """Keep the ids that an answer tells, to ask for again."""
        told = response.json() if response.content else {}
        for name, field in (("reference", "request_id"), ("workflow_id", "workflow_id")):
            if isinstance(told, dict) and isinstance(told.get(field), str):
                self._ids[name].append(told[field])

    def _shorten_wait(self, case: AnyCase) -> None:
        """Wait a moment at most: whoever asks may wait for half a minute."""
        asked = case.query.get("wait") if case.query else None
        values: Sequence[Any] = asked if isinstance(asked, list) else [asked]
        for value in values:
            try:
                long = float(str(value)) > 0.01
            except ValueError:
                continue
            if long and self._waits:
                case.query["wait"] = 0.01
            elif long:
                del case.query["wait"]
            return

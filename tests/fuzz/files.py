"""YAML files as a slip of the hand, or somebody hostile, would leave them.

Each is either taken or refused by a ConfigError that names the file. What is taken must also work:
tasks are assessed, resolved and planned by it, and get an answer or a sentence.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from agents.operation_config import OperationsFile
from agents.operations import Operations, UnresolvableOperation
from agents.templates import UnfitTask, load_templates
from approvals.configfile import ConfigError, load_config
from approvals.core.lifecycle import Status
from approvals.core.risk import assess
from approvals.policy import load_policies, load_rules
from integrations.linear.config import load_linear_config
from tests.fuzz.documents import alter
from tests.fuzz.findings import Finding

CONFIG = Path(__file__).resolve().parents[2] / "config"
LONGEST_SECONDS = 5.0

TASKS: Sequence[Mapping[str, Any]] = (
    {"operation": "deploy", "environment": "production", "arguments": {"version": "v2.5.0"}},
    {"operation": "db_migrate", "environment": "staging", "arguments": {}, "pr_number": 7},
    {"operation": "unknown", "arguments": [], "github_repo": "acme/shop", "description": "{x}"},
)


def _assess(path: Path) -> None:
    rules = load_rules.__wrapped__(path)
    for task in TASKS:
        assess(rules, task, agent="cicd")


def _policies(path: Path) -> None:
    for entry in load_policies.__wrapped__(path).policies:
        json.dumps(entry.frozen().__dict__)


def _operations(path: Path) -> None:
    operations = Operations(
        load_config(path, OperationsFile),
        repositories=("acme/shop",),
        environ={"HITL_OPERATIONS_URL": "http://127.0.0.1:1/x"},
    )
    for name in operations.names:
        for task in TASKS:
            try:
                json.dumps(operations.resolve({**task, "operation": name}))
            except UnresolvableOperation:
                continue


def _workflows(path: Path) -> None:
    for template in load_templates(path.parent).values():
        for task in TASKS:
            try:
                json.dumps(template.plan(task))
            except UnfitTask:
                continue


def _linear(path: Path) -> None:
    config = load_linear_config(path)
    for state in ("Done", "", "İ", config.team):
        config.choice_for(state)
    for status in set(Status) - {Status.PENDING}:
        config.shows(status, config.outcome_state(status))


@dataclass(frozen=True)
class Kind:
    """A file that the gateway reads, as it is shipped, and what reads and uses it."""

    name: str
    samples: tuple[str, ...]
    read: Callable[[Path], None]

    def judge(self, content: bytes, folder: Path) -> str:
        """What the gateway makes of a file with this content; raises Finding."""
        path = folder / f"{self.name}.yaml"
        path.write_bytes(content)
        began = time.monotonic()
        try:
            self.read(path)
            verdict = "taken"
        except ConfigError as error:
            if not str(error).startswith(str(folder)):
                raise Finding(f"a refusal does not name the file: {error}") from error
            verdict = "refused"
        if (took := time.monotonic() - began) > LONGEST_SECONDS:
            raise Finding(f"a file took too long: {took:.0f} s")
        return verdict


def _samples(pattern: str) -> tuple[str, ...]:
    """Files as they are shipped, without the lines that nothing reads."""
    texts = (path.read_text() for path in sorted(CONFIG.glob(pattern)))
    return tuple(
        "\n".join(line for line in text.splitlines() if line.strip() and line.lstrip()[0] != "#")
        for text in texts
    )


KINDS = (
    Kind("risk-assessment-rules", _samples("hitl/risk-assessment-rules.yaml"), _assess),
    Kind("approval-policies", _samples("hitl/approval-policies.yaml"), _policies),
    Kind("operations", _samples("hitl/operations.yaml"), _operations),
    Kind("workflow", _samples("workflows/*.yaml"), _workflows),
    Kind("linear-config", _samples("linear/*.yaml"), _linear),
)

# What YAML knows and few people do; each may stand where a value or a line would.
_TRAPS = (
    *("!!int ''", "!!float ''", "!!bool maybe", "!!timestamp soon", "!!binary '%%'", "!!null x"),
    *("!!python/object:os.system ''", "!!set {a, b}", "!!omap [a: 1]", "!!pairs [a: 1]", "!x y"),
    *("&a [*a]", "&a {b: *a}", "*nothing", "<<: {a: 1}", "<<: [1]", "<<: *x", "=", "? [a]\n: b"),
    *("? {a: b}\n: c", "? &k [1]\n: *k", "1:60:99", "0x", "0o9", "0b2", "1_0", ".inf", ".nan"),
    *("-.inf", "1e999", "2026-13-99", "2026-11-28 25:61:61", "~", "yes", "'", '"', '"\\x"'),
    *(
        '"\\ud800"',
        '"\\0"',
        "|",
        ">-",
        "|9",
        "%YAML 2.0\n---",
        "---",
        "...\n---\na: b",
        "\t",
        "- -",
    ),
    *("{{{", "[[", "}", "]", "[,]", "{?}", "@x", "`x`", "#", "\ufeff", "\x85", "\u2028", "\x00"),
    *("\x1b", "9" * 5000, "[" * 2000, "{a: " * 2000, "- " * 2000, "a" * 70_000, "!" * 3000),
    "? " * 1500,
)

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 10**30, 2**63, 10**400]),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(
        ["{environment}", "{", "{{", "{arguments.x}", "*", "", "(", "[a-", "\x00", "../x"]
    ),
    st.dates(min_value=date(1, 1, 1)),
    st.datetimes(),
    st.binary(max_size=8),
)
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.text(max_size=12), st.integers()), inner, max_size=4),
    ),
    max_leaves=8,
)


@st.composite
def altered(draw: st.DrawFn, sample: str) -> bytes:
    """The file with a few of its values replaced, taken out, renamed or doubled."""
    document = yaml.safe_load(sample)
    for _ in range(draw(st.integers(1, 2))):
        alter(draw, document, _values, _scalars)
    return yaml.dump(document, allow_unicode=draw(st.booleans())).encode("utf-8", "surrogatepass")


@st.composite
def mistyped(draw: st.DrawFn, sample: str) -> bytes:
    """The file with some lines taken out, doubled, indented or replaced, or a trap within one."""
    lines = sample.splitlines()
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(lines) - 1))
        line = lines[at]
        match draw(st.sampled_from(("out", "double", "indent", "value", "value", "trap", "cut"))):
            case "out":
                lines[at] = ""
            case "double":
                lines.insert(at, line)
            case "indent":
                lines[at] = draw(st.sampled_from((" ", "  ", "\t", "- "))) + line
            case "value":
                lines[at] = f"{line.partition(':')[0]}: {draw(st.sampled_from(_TRAPS))}"
            case "trap":
                lines.insert(at, draw(st.sampled_from(_TRAPS)))
            case _:
                cut = draw(st.integers(0, len(line)))
                lines[at] = line[:cut] + draw(st.text(max_size=4)) + line[cut:]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


@st.composite
def laughing(draw: st.DrawFn, sample: str) -> bytes:
    """The file with a value that repeats itself out of all bounds."""
    depth, breadth = draw(st.integers(2, 30)), draw(st.integers(2, 12))
    lines = ["x0: &x0 [lol, lol]"]
    held = [", ".join([f"*x{level}"] * breadth) for level in range(depth)]
    lines += [f"x{level + 1}: &x{level + 1} [{names}]" for level, names in enumerate(held[:-1])]
    rest = sample.splitlines()
    at = draw(st.integers(0, len(rest) - 1))
    rest[at] = f"{rest[at].partition(':')[0]}: *x{depth - 1}"
    return "\n".join([*lines, *rest]).encode()


def contents(kind: Kind) -> st.SearchStrategy[bytes]:
    """Files of a kind: nearly right ones for the most part."""
    sample = st.sampled_from(kind.samples)
    return st.one_of(
        sample.flatmap(altered),
        sample.flatmap(mistyped),
        sample.flatmap(altered),
        sample.flatmap(mistyped),
        sample.flatmap(laughing),
        st.binary(max_size=200),
    )

"""The committed dashboard, as tests read it, with its variables filled in as Grafana would."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.observability import prometheus_files as files

FILE = files.ROOT / "config/grafana/dashboards/hitl-approval-workflow.json"
VARIABLES = ("agent", "risk_level", "environment")
_SELECTOR = re.compile(r"(hitl_\w+)\{([^}]*)\}")


def board() -> dict[str, Any]:
    """The dashboard."""
    read: dict[str, Any] = json.loads(FILE.read_text())
    return read


def panels() -> dict[str, dict[str, Any]]:
    """The panels by title."""
    return {panel["title"]: panel for panel in board()["panels"]}


@dataclass(frozen=True)
class Expression:
    """One PromQL expression of a panel; `at_once` asks for one moment and not for a range."""

    panel: str
    text: str
    at_once: bool

    def filled(self, window: str = "6h", **chosen: str) -> str:
        """What Grafana asks Prometheus for this time range and these choices, by default all."""
        text = self.text.replace("$__range", window).replace("$__interval", "1m")
        for name in VARIABLES:
            text = text.replace(f'"${name}"', f'"{chosen.get(name, ".*")}"')
        assert "$" not in text, text
        return text

    def selectors(self) -> Iterator[tuple[str, str]]:
        """Each metric that is read, with its matchers."""
        for found in _SELECTOR.finditer(self.text):
            yield found[1], found[2]


def expressions() -> list[Expression]:
    """Every PromQL expression of the dashboard."""
    return [
        Expression(panel["title"], target["expr"], target["instant"])
        for panel in board()["panels"]
        for target in panel["targets"]
        if "expr" in target
    ]


def active_approvals_sql(**chosen: str) -> str:
    """What Grafana asks the database for these choices: regular expressions, by default all."""
    (target,) = panels()["Active Approvals"]["targets"]
    text: str = target["rawSql"]
    for name in VARIABLES:
        text = text.replace(f"${{{name}:regex}}", chosen.get(name, ".*"))
    assert "${" not in text, text
    return text


def documented_labels() -> Mapping[str, frozenset[str]]:
    """The labels of each series by the table in the README."""
    found: dict[str, frozenset[str]] = {}
    for name, (kind, labels) in files.documented_metrics().items():
        if kind == "histogram":
            found |= {f"{name}_bucket": labels | {"le"}, f"{name}_count": labels}
        else:
            found[name] = labels
    return found

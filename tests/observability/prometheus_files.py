"""The committed rules and configuration of Prometheus and Alertmanager, as tests read them."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
PROMETHEUS = ROOT / "config/prometheus/prometheus.yml"
ALERTS = ROOT / "config/prometheus/alerts/hitl-metrics.yml"
RECORDING = ROOT / "config/prometheus/rules/hitl-recording.yml"
UNIT_TESTS = sorted((ROOT / "config/prometheus/tests").glob("*.yml"))
ALERTMANAGER = ROOT / "config/alertmanager/alertmanager.yml"
RUNBOOKS = ROOT / "docs/runbooks.md"

_ROW = re.compile(r"^\| `(hitl_\w+)` \| (\w+) \| ([^|]*) \| \w", re.MULTILINE)


class Documented(NamedTuple):
    """A metric as the README has it; a histogram's buckets have the label `le`, too."""

    kind: str
    labels: frozenset[str]


def load(path: Path) -> Any:
    """What a YAML file holds."""
    return yaml.safe_load(path.read_text())


def rules(path: Path) -> list[dict[str, Any]]:
    """The rules of all groups of a file."""
    return [rule for group in load(path)["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    return {rule["alert"]: rule for rule in rules(ALERTS)}


def documented_metrics() -> dict[str, Documented]:
    """Every metric in the README's table."""
    rows = _ROW.findall((ROOT / "README.md").read_text())
    return {
        name: Documented(kind, frozenset(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in rows
    }


def metric(series: str) -> str:
    """The metric that a series belongs to: a histogram has several."""
    return re.sub(r"(_seconds)_(?:bucket|count|sum)$", r"\1", series)


def anchors(markdown: str) -> set[str]:
    """The anchors of a page's headings, as Git hosts make them."""
    outside_code = re.sub(r"^\s*```.*?^\s*```", "", markdown, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", outside_code, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

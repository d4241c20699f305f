"""What the README must know: every setting, command and metric, and every file it points at."""

import re
from pathlib import Path

import pytest
from django.core.management import get_commands
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from approvals import services
from tests.approvals import scenes
from tests.observability import prometheus_files as files

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
OURS = {"approvals", "agents", "integrations", "hitl_project"}
_READS = re.compile(
    r"""(?:environ(?:\.get)?[\[(]|getenv\(|_required\(|_sent\(|_flag\(|_number\(|_n\w+\(|given(?:\.get\(|\[|\())\s*"""
    r'"([A-Z][A-Z0-9_]+)"'
)


def read_settings() -> set[str]:
    """Every environment variable that the product's own code reads by name."""
    names: set[str] = set()
    for package in OURS:
        for path in (ROOT / package).rglob("*.py"):
            names.update(_READS.findall(path.read_text()))
    return names


def test_every_setting_is_in_the_readme() -> None:
    documented = set(re.findall(r"^\| `([A-Z][A-Z0-9_]+)`", README, re.MULTILINE))
    assert len(read_settings()) > 15
    assert read_settings() - documented == set()


def test_every_documented_setting_is_read() -> None:
    documented = set(re.findall(r"^\| `([A-Z][A-Z0-9_]+)`", README, re.MULTILINE))
    code = (
        "".join(path.read_text() for package in OURS for path in (ROOT / package).rglob("*.py"))
        + (ROOT / "config" / "hitl" / "operations.yaml").read_text()
    )
    assert {name for name in documented if name not in code} == set()


def test_every_command_is_in_the_readme() -> None:
    ours = {name for name, app in get_commands().items() if app in OURS}
    assert len(ours) >= 10
    table = README[README.index("| `manage.py …`") : README.index("Roles:")]
    assert {name for name in ours if f"`{name}" not in table} == set()


@pytest.mark.django_db(transaction=True)
def test_the_metrics_are_those_in_the_readme_with_their_types_and_labels() -> None:
    request_id = scenes.opened()
    services.withdraw_request(request_id, actor=services.SYSTEM, reason="no longer wanted")
    page = Client().get("/metrics").content.decode()
    families = [f for f in text_string_to_metric_families(page) if f.name.startswith("hitl_")]
    found = {
        f"{family.name}_total" if family.type == "counter" else family.name: files.Documented(
            family.type,
            frozenset(label for sample in family.samples for label in sample.labels) - {"le"},
        )
        for family in families
    }
    assert found == files.documented_metrics()


@pytest.mark.parametrize(
    "page",
    [
        *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md")),
        *("README.md", "SECURITY.md", "deploy/README.md"),
    ],
)
def test_every_link_between_pages_leads_somewhere(page: str) -> None:
    path = ROOT / page
    for target, anchor in re.findall(r"\]\(([^)#:]+)(?:#([^)]*))?\)", path.read_text()):
        assert (path.parent / target).exists(), target
        if anchor:
            assert anchor in files.anchors((path.parent / target).read_text()), (target, anchor)


def test_every_file_that_the_threat_model_names_is_there() -> None:
    """It says which mechanism stops what, and where that is tested."""
    named = re.findall(r"`((?:[\w-]+/)+[\w.-]*)`", (ROOT / "SECURITY.md").read_text())
    assert len(named) > 30
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    suspicious = re.compile(r"/(?:root|home/[a-z]+|work)/[a-z]")
    for pattern in ("*.md", "docs/*.md", "config/**/*.yaml", "*.toml"):
        for path in ROOT.glob(pattern):
            assert not suspicious.search(path.read_text()), path

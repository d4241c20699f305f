"""`python -m bench` runs and says what it found.

Only the hot paths are measured here: the other measures start many more processes.
`make bench ARGS=--quick` takes them all in a minute or two.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TAKEN = ("deciding", "resuming", "opening")
MEASURES = (
    "signed webhook -> 200, decision committed",
    "decision committed -> operation executed",
    "request opened by API",
)


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What a quick run printed, and where it wrote its figures."""
    figures = tmp_path_factory.mktemp("bench") / "figures.json"
    ran = subprocess.run(  # noqa: S603 - our own program
        [
            *(sys.executable, "-m", "bench", "--quick", "--json", str(figures)),
            *(f"--only={name}" for name in TAKEN),
        ],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout, figures


def test_the_table_shows_every_measure_beside_its_floor(quick_run: tuple[str, Path]) -> None:
    printed, _ = quick_run
    for measure in MEASURES:
        _, _, after = printed.partition(f"\n{measure}\n")
        sides = [line.split()[0] for line in after.splitlines()[:3]]
        assert sides == ["gateway", "floor", "ratio"], printed


def test_the_figures_are_json_with_every_raw_value(quick_run: tuple[str, Path]) -> None:
    _, figures = quick_run
    report = json.loads(figures.read_text())
    assert [measure["measure"] for measure in report["measures"]] == list(MEASURES)
    for measure in report["measures"]:
        for side in ("gateway", "floor"):
            values = measure[side]
            assert values["all_ms"], measure["measure"]
            assert 0 < values["p50_ms"] <= values["p95_ms"] <= values["p99_ms"]
            assert values["per_second"] > 0
        assert set(measure["ratio"]) == {"p50_ms", "p95_ms", "p99_ms", "per_second"}
        assert measure["goals"], measure["measure"]

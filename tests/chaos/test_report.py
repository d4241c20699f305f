"""Whatever comes of the chaos, its report says what was done and how to repeat it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import __main__ as chaos
from tests.chaos.__main__ import Report, main
from tests.chaos.faults import Injector
from tests.chaos.stage import Stage


@pytest.fixture
def kept() -> Iterator[list[Path]]:
    """Takes the folders that a test says are kept, and removes them."""
    folders: list[Path] = []
    yield folders
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def ended(capsys: pytest.CaptureFixture[str], kept: list[Path], error: str) -> str:
    """What it prints when it ends before its end."""
    with pytest.raises(BaseException, match=error):
        main(["--seed", "7", "--runs", "3"])
    said = capsys.readouterr().out
    kept += [Path(line.split()[-1]) for line in said.splitlines() if "Everything is in" in line]
    return said


def test_what_never_came_up_says_its_seed_and_where_its_logs_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kept: list[Path]
) -> None:
    def never(folder: Path, skew: object) -> Any:
        (folder / "web-1.log").write_text("No.")
        pytest.fail("Not within 60 s: the gateway is ready.")

    monkeypatch.setattr(Stage, "built", never)
    said = ended(capsys, kept, "ready")
    assert said.startswith("Seed 7: 3 workflows")
    assert "clock" in said
    assert "It broke off: Failed: Not within 60 s: the gateway is ready." in said
    assert "repeat with --seed 7" in said
    (folder,) = kept
    assert (folder / "web-1.log").exists()


def test_what_broke_off_tells_what_had_struck(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kept: list[Path]
) -> None:
    def died(folder: Path, orders: object, injector: Injector) -> Any:
        del folder, orders
        injector.struck["kill beat"] += 1
        raise AssertionError("What drives the workflows ended with 1.")

    class Still:
        parts: tuple[str, ...] = ("web-1", "worker-1", "beat")
        urls: tuple[str, ...] = ()
        password = environment = ""
        sandbox = property(lambda self: self)
        url = ""

        def token(self, who: str) -> str:
            return who

        def stop(self) -> None:
            """Nothing runs."""

    monkeypatch.setattr(Stage, "built", lambda *_: (Still(), Still()))
    monkeypatch.setattr(chaos, "_under_fire", died)
    said = ended(capsys, kept, "ended with 1")
    assert "    1  kill beat\n" in said
    assert "Never struck: " in said
    assert "kill web-1" in said


def test_nothing_holds_before_it_was_checked() -> None:
    assert not Report(7, 3, {}).held
    assert Report(7, 3, {}, breaches={"one": []}).held


def test_a_clock_that_nothing_could_set_is_said_to_be_right() -> None:
    assert "no clock was wrong: apt-get install faketime" in Report(7, 3, {}).beginning()

"""A command runs as it was approved, within its limits, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from agents.actions import ActionResult, NotBegun, OutcomeUnknown, load_executor
from approvals.masking import MASK
from integrations.executors.output import OUTPUT_BYTES
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
# Runs a command and says that it came to its end, which a killed worker never does.
WORKER = """
import json, sys, django
django.setup()
from agents.actions import load_executor
load_executor("command")(json.loads(sys.argv[1]), idempotency_key="k")
"""


@pytest.fixture(autouse=True)
def data_dir(settings: Settings, tmp_path: Path) -> Path:
    settings.HITL_DATA_DIR = tmp_path
    return tmp_path


def command(*argv: str, **changes: Any) -> dict[str, Any]:
    return {
        "executor": "command",
        "argv": list(argv),
        "cwd": ".",
        "pass_env": [],
        "timeout_seconds": 30,
        "idempotent": False,
        **changes,
    }


def run(*argv: str, key: str = "key-1", **changes: Any) -> ActionResult:
    return load_executor("command")(command(*argv, **changes), idempotency_key=key)


def shell(script: str, **changes: Any) -> ActionResult:
    return run("sh", "-c", script, **changes)


def is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def pids_in(path: Path, count: int) -> list[int]:
    def written() -> bool:
        return path.exists() and len(path.read_text(encoding="utf-8").split()) == count

    eventually(written, f"{count} pids in {path.name}")
    return [int(word) for word in path.read_text(encoding="utf-8").split()]


def none_runs(pids: Sequence[int]) -> bool:
    return not any(is_running(pid) for pid in pids)


def test_the_shipped_program_runs_once_with_its_key(data_dir: Path) -> None:
    result = run(
        *("python", "-m", "sandbox.program", "deploy"),
        *("--environment", "production", "--version", "v2.5.0"),
        key="request-7",
    )
    assert (result.succeeded, result.summary) == (True, "exited 0")
    assert result.data == {"exit_code": 0}
    assert "Fetching release v2.5.0\n" in result.output
    (line,) = (data_dir / "effects.jsonl").read_text(encoding="utf-8").splitlines()
    effect = json.loads(line)
    assert effect["operation"] == "deploy"
    assert effect["environment"] == "production"
    assert effect["version"] == "v2.5.0"
    assert effect["idempotency_key"] == "request-7"


def test_a_failing_program_fails_with_its_exit_status(data_dir: Path) -> None:
    result = run("python", "-m", "sandbox.program", "deploy", "--fail")
    assert (result.succeeded, result.summary) == (False, "exited 3")
    assert "failed, and changed nothing" in result.output
    assert not (data_dir / "effects.jsonl").exists()


def test_words_reach_the_program_as_they_are() -> None:
    words = ["a b", "$(id)", "'; rm -rf /", "*", "", "\N{SNOWMAN}", "line\nbreak"]
    script = "import json, sys; print(json.dumps(sys.argv[1:]))"
    assert json.loads(run("python", "-c", script, *words).output) == words


def test_only_named_variables_reach_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOY_REGION", "eu-1")
    monkeypatch.setenv("GITHUB_TOKEN", "not for commands")
    result = run("env", pass_env=["DEPLOY_REGION"])
    seen = dict(line.split("=", 1) for line in result.output.splitlines())
    assert seen["DEPLOY_REGION"] == "eu-1"
    assert seen["HITL_IDEMPOTENCY_KEY"] == "key-1"
    known = {"PATH", "HOME", "LANG", "HITL_DATA_DIR", "HITL_IDEMPOTENCY_KEY", "DEPLOY_REGION"}
    assert set(seen) <= known


@pytest.mark.parametrize("status", [0, 1])
def test_an_output_that_repeats_what_was_handed_on_is_kept_without_it(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("DEPLOY_KEY", "key-of-many-characters")
    monkeypatch.setenv("DEPLOY_REGION", "eu")
    script = f'echo "No: $DEPLOY_KEY in $DEPLOY_REGION, neutral" && exit {status}'
    result = shell(script, pass_env=["DEPLOY_KEY", "DEPLOY_REGION"])
    # What is short is no secret, and part of many words.
    assert (result.succeeded, result.output) == (status == 0, f"No: {MASK} in eu, neutral\n")


def test_a_secret_that_is_cut_off_at_the_beginning_of_an_output_is_not_kept_in_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DEPLOY_KEY", "key-of-many-characters")
    rest = OUTPUT_BYTES - len("characters")
    result = shell(f'printf %s "$DEPLOY_KEY" && yes | head -c {rest}', pass_env=["DEPLOY_KEY"])
    assert "characters" not in result.output


def test_a_variable_that_is_not_set_stops_the_command_before_it_starts(data_dir: Path) -> None:
    with pytest.raises(NotBegun) as stopped:
        shell(f"touch {data_dir}/started", pass_env=["NEVER_SET_ANYWHERE"])
    reason = "The command was not started: set NEVER_SET_ANYWHERE for the workers."
    assert str(stopped.value) == reason
    assert not (data_dir / "started").exists()


@pytest.mark.parametrize(
    ("argv", "cwd", "reason"),
    [
        (["no-such-program-anywhere"], ".", "No such file or directory"),
        (["/etc/passwd"], ".", "Permission denied"),
        (["true"], "no/such/folder", "No such file or directory"),
        (["true", "x" * 3_000_000], ".", "Argument list too long"),
    ],
)
def test_what_cannot_be_started_says_why(argv: list[str], cwd: str, reason: str) -> None:
    with pytest.raises(NotBegun) as stopped:
        run(*argv, cwd=cwd)
    assert str(stopped.value) == f"The command was not started: {reason}."


def test_output_is_one_stream_bounded_and_harmless() -> None:
    result = shell(r"echo one; echo two >&2; printf 'bad\377\000\033[31mred\n'")
    assert result.output == "one\ntwo\nbad\ufffd\ufffd\ufffd[31mred\n"
    result = shell("yes 0123456789 | head -c 300000; echo; echo the end")
    assert result.output.startswith("[the first ")
    assert result.output.endswith("the end\n")
    assert len(result.output) < OUTPUT_BYTES + 100


def test_a_program_that_a_signal_ends_fails_and_says_so() -> None:
    assert shell("kill -KILL $$").summary == "was ended by signal 9 (Killed)"


def test_the_time_limit_ends_every_process_of_the_command(data_dir: Path) -> None:
    pids = data_dir / "pids"
    script = (
        "trap '' TERM; sleep 300 & a=$!; setsid sh -c 'trap \"\" TERM; sleep 300' & b=$!;"
        f" echo $$ $a $b > {pids}; while :; do sleep 1; done"
    )
    started = time.monotonic()
    result = shell(script, timeout_seconds=1)
    assert (result.succeeded, result.summary) == (False, "was ended at its time limit of 1 s")
    assert time.monotonic() - started < 10
    assert none_runs(pids_in(pids, 3))


def test_what_a_command_leaves_in_the_background_ends_with_it(data_dir: Path) -> None:
    pids = data_dir / "pids"
    started = time.monotonic()
    result = shell(f"setsid sleep 300 & echo $! > {pids}; echo done")
    assert (result.succeeded, result.output) == (True, "done\n")
    assert time.monotonic() - started < 10
    assert none_runs(pids_in(pids, 1))


def test_a_worker_that_is_killed_takes_every_process_of_its_command_along(data_dir: Path) -> None:
    pids = data_dir / "pids"
    script = f"sleep 300 & a=$!; setsid sleep 300 & echo $$ $a $! > {pids}; wait"
    action = json.dumps(command("sh", "-c", script, timeout_seconds=300))
    worker = subprocess.Popen([sys.executable, "-c", WORKER, action], cwd=ROOT)  # noqa: S603
    try:
        running = pids_in(pids, 3)
        assert all(is_running(pid) for pid in running)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    eventually(lambda: none_runs(running), "the command's processes ended", seconds=10)


def test_a_command_that_is_stopped_from_outside_has_an_unknown_outcome() -> None:
    # The command's parent is the process that watches over it.
    with pytest.raises(OutcomeUnknown, match="stopped from outside"):
        shell("kill -TERM $PPID; sleep 300")
    with pytest.raises(OutcomeUnknown, match="watched over the command was killed"):
        shell("kill -KILL $PPID; exec sleep 300")


def test_a_command_sees_no_open_file_of_the_worker(data_dir: Path) -> None:
    with (data_dir / "secret").open("w", encoding="utf-8") as kept:
        os.set_inheritable(kept.fileno(), True)
        result = run("python", "-c", "import os; print(sorted(os.listdir('/proc/self/fd')))")
    # 0, 1, 2, and the descriptor that reads the folder.
    assert result.output == "['0', '1', '2', '3']\n"

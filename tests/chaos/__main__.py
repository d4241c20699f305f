"""Drive workflows through faults, then check from outside that nothing was lost or done twice.

    python -m tests.chaos [--runs N] [--seed S] [--every SECONDS]

PostgreSQL, Redis, two web servers, two workers, beat and the stand-in Linear and GitHub are started
for this run, each as a process, in a temporary folder. One process drives the workflows and decides
what they ask, by every way there is; this one lets faults strike meanwhile. When the workflows are
led and the faults are over, the gateway is left alone until it is quiet, and every invariant is
checked. The exit status is 1 where one is broken. The same seed gives the same workflows and the
same faults in the same order; when they meet is up to the machine.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.facts import Facts
from tests.chaos.faults import Injector
from tests.chaos.invariants import EVERY, one_issue_each
from tests.chaos.load import Orders
from tests.chaos.plans import DECISIONS
from tests.chaos.stage import Stage, has_faketime
from tests.sandbox_process import ROOT

# A crashed action counts as such only when its time and a reserve are over.
QUIET_SECONDS = 180.0
RECOVERY_SECONDS = 60.0
SKEW_SECONDS = 120


@dataclass
class Report:
    """What was done to the gateway, and how it stood that; filled while it happens."""

    seed: int
    runs: int
    skew: Mapping[str, int]
    struck: Mapping[str, int] = field(default_factory=dict)
    # The names of every fault that there is.
    faults: Sequence[str] = ()
    recoveries: Sequence[float] = ()
    took: Mapping[str, float] = field(default_factory=dict)
    ends: Mapping[str, int] = field(default_factory=dict)
    stopped: Mapping[str, int] = field(default_factory=dict)
    breaches: Mapping[str, Sequence[str]] = field(default_factory=dict)
    error: str = ""

    @property
    def held(self) -> bool:
        """Whether every invariant was checked and holds."""
        return bool(self.breaches) and not (self.error or any(self.breaches.values()))

    def beginning(self) -> str:
        """What is known before it begins: all that repeats it."""
        clocks = [f"the clock of {part} off by {by:+d} s" for part, by in self.skew.items()]
        wrong = ", ".join(clocks) or "no clock was wrong: apt-get install faketime"
        return f"Seed {self.seed}: {self.runs} workflows; {wrong}"

    def text(self) -> str:
        """The report for people."""
        lines = [self.beginning(), f"{sum(self.struck.values())} faults struck:"]
        lines += [f"  {number:5}  {name}" for name, number in sorted(self.struck.items())]
        if never := [name for name in self.faults if not self.struck.get(name)]:
            lines.append("Never struck: " + ", ".join(never))
        if self.recoveries:
            half, most = _percentile(self.recoveries, 50), _percentile(self.recoveries, 95)
            number = len(self.recoveries)
            lines.append(f"Worked again after {half:.1f} s (p50), {most:.1f} s (p95) of {number}")
        lines.append("Took " + ", ".join(f"{what} {s:.0f} s" for what, s in self.took.items()))
        lines.append("Runs: " + ", ".join(f"{n} {how}" for how, n in sorted(self.ends.items())))
        lines += [f"  {number:5}  {why}" for why, number in sorted(self.stopped.items())]
        for name, sentences in self.breaches.items():
            lines.append(f"  {'BROKEN' if sentences else 'holds '}  {name.replace('_', ' ')}")
            lines += [f"            {sentence}" for sentence in sentences[:20]]
            if len(sentences) > 20:
                lines.append(f"            and {len(sentences) - 20} more")
        if self.error:
            lines.append(f"It broke off: {self.error}")
        broken = sum(1 for sentences in self.breaches.values() if sentences)
        kept = len(self.breaches) - broken
        lines.append(f"{kept} invariants hold, {broken} are broken; repeat with --seed {self.seed}")
        return "\n".join(lines)


def _percentile(values: Sequence[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


@contextmanager
def workplace(report: Report, *, keep: bool = False) -> Iterator[Path]:
    """A folder with a path that is short enough for a socket; kept where anything is to be seen."""
    folder = Path(tempfile.mkdtemp(prefix="hitl-chaos-"))
    try:
        yield folder
    except BaseException as error:
        report.error = f"{type(error).__name__}: {error}"
        raise
    finally:
        if keep or not report.held:
            sys.stdout.write(f"Everything is in {folder}\n")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def run(
    folder: Path,
    report: Report,
    *,
    every_seconds: float,
    most_rounds: int | None = None,
    at_once: int,
) -> None:
    """Do in this folder what the report says is to be done, and write into it what comes of it."""
    began = time.monotonic()
    took: dict[str, float] = {}
    report.took = took

    def lap(what: str) -> None:
        took[what] = time.monotonic() - began - sum(took.values())

    stage, gateway = Stage.built(folder, report.skew)
    try:
        lap("the start")
        injector = Injector(stage, report.seed, every_seconds, most_rounds)
        report.struck, report.faults = injector.struck, injector.names
        report.recoveries = injector.recoveries
        orders = Orders(
            seed=report.seed,
            runs=report.runs,
            at_once=at_once,
            urls=stage.urls,
            control_url=stage.sandbox.url,
            tokens={who: gateway.token(who) for who in ("ada", "ben", "rosa")},
            password=gateway.password,
            environment=stage.environment,
        )
        lives = _under_fire(folder, orders, injector)
        injector.heal_everything(RECOVERY_SECONDS)
        lap("the faults")
        facts = Facts(stage, lives)
        _wait_until_quiet(facts)
        injector.start_what_ended()
        lap("until quiet")
        report.ends = Counter(run["status"] for run in facts.runs.values())
        report.stopped = Counter(
            f"{run['task']['operation']}: {run['attention'][:100]}"
            for run in facts.runs.values()
            if run["status"] == "needs_attention"
        )
        report.breaches = {
            **{check.__name__: list(check(facts)) for check in EVERY},
            **injector.breaches,
        }
        lap("the checks")
    finally:
        stage.stop()


def _skew(seed: int) -> Mapping[str, int]:
    """One process whose clock is wrong, where this machine can do that."""
    if not has_faketime():
        return {}
    chance = random.Random(seed)  # noqa: S311 - a repeatable choice
    part = chance.choice(("web-1", "web-2", "worker-1", "worker-2", "beat"))
    return {part: chance.choice((-SKEW_SECONDS, SKEW_SECONDS))}


def _under_fire(folder: Path, orders: Orders, injector: Injector) -> Sequence[dict[str, Any]]:
    """The lives that a process of its own has led, while faults struck."""
    ledger = folder / "lives.jsonl"
    with ledger.open("wb") as output:
        load = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.load"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=output,
        )
        try:
            if load.stdin is not None:
                load.stdin.write(json.dumps(asdict(orders)).encode() + b"\n")
                load.stdin.close()
            # What is quick over must not be spared what strikes last.
            while load.poll() is None or not injector.rounds:
                injector.step()
                time.sleep(0.05)
        finally:
            load.kill()
            load.wait()
    if load.returncode != 0:
        raise AssertionError(f"What drives the workflows ended with {load.returncode}.")
    return [json.loads(line) for line in ledger.read_text().splitlines()]


def _wait_until_quiet(facts: Facts) -> None:
    """Wait until nothing moves by itself any more; what still does after the bound is a finding."""
    decided = [
        key for life in facts.lives if life["plan"]["end"] in DECISIONS for key in life["requests"]
    ]
    deadline = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.25)
        (moving,) = facts.stage.rows(
            "SELECT (SELECT count(*) FROM approvals_delivery"
            "  WHERE done < wanted AND gave_up_at IS NULL)"
            " + (SELECT count(*) FROM agents_run WHERE status = 'running'"
            "  OR done < wanted AND gave_up_at IS NULL)"
            " + (SELECT count(*) FROM approval_requests WHERE status = 'pending'"
            "  AND (expires_at < clock_timestamp() OR id = ANY(%s::uuid[]))) AS number",
            decided,
        )
        # A move whose webhook was lost is owed nothing until it is read back.
        if moving["number"] == 0 and not any(one_issue_each(Facts(facts.stage, facts.lives))):
            return


def main(arguments: Sequence[str]) -> int:
    """Run, print the report, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="Prove the gateway under faults."
    )
    parser.add_argument("--runs", type=int, default=1000, metavar="N", help="how many workflows")
    parser.add_argument("--seed", type=int, default=None, metavar="S", help="by default, a new one")
    parser.add_argument(
        "--every",
        type=float,
        default=2.0,
        metavar="SECONDS",
        help="how long it is from one fault to the next, on average",
    )
    parser.add_argument("--keep", action="store_true", help="keep the folder with every log")
    chosen = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(1_000_000) if chosen.seed is None else chosen.seed
    report = Report(seed, chosen.runs, _skew(seed))
    sys.stdout.write(report.beginning() + "\n")
    sys.stdout.flush()
    try:
        with workplace(report, keep=chosen.keep) as folder:
            run(folder, report, every_seconds=chosen.every, at_once=12)
    finally:
        sys.stdout.write(report.text() + "\n")
    return 0 if report.held else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

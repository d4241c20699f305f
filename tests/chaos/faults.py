"""What goes wrong, and how it heals: each fault strikes once and says when it is over."""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import httpx

from tests.chaos.stage import Stage

Heal: TypeAlias = Callable[[], object]
OUTSIDE_CALLS = ("linear", "github", "hooks")
# What is struck in each round, in an order of its own, so that a short form leaves none of it out.
ROUND = (
    *(
        "worker",
        "worker",
        "pool",
        "web",
        "beat",
        "freeze",
        "redis",
        "redis",
        "postgres",
        "postgres",
    ),
    *(*OUTSIDE_CALLS, "webhooks", "signatures"),
)


@dataclass(frozen=True)
class Fault:
    """One kind of fault."""

    name: str
    # Strikes, and returns what heals it and after how many seconds, or None where it is over.
    strike: Callable[[], tuple[float, Heal] | None]
    # Whether the gateway as a whole has to recover from it.
    breaks: bool = False


class NothingToStrike(Exception):
    """What would be struck is dead already, or not there yet."""


@dataclass
class Injector:
    """Lets faults strike at random moments; everything happens in the thread that calls `step`.

    After so many rounds, in each of which every kind strikes, it lets none strike any more.
    `struck` counts them by name. `recoveries` holds how long it took after each breaking fault
    until the gateway worked by itself. `breaches` has a sentence for whatever only this can see.
    """

    stage: Stage
    seed: int
    every_seconds: float
    most_rounds: int | None = None
    struck: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    # How often every kind has struck.
    rounds: int = 0

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311 - a repeatable mixture
        self._faults = self._every_kind()
        # Of each kind, those that have not had their turn.
        self._left: dict[str, list[Fault]] = {}
        self._round: list[str] = []
        self._next = time.monotonic() + self._wait()
        self._healing: list[tuple[float, Heal]] = []
        self._broken: list[tuple[float, Any]] = []
        self._looked = 0.0
        # The workers that were seen to be ready, by their process.
        self._ready: set[int] = set()
        self.breaches: dict[str, list[str]] = {
            # Nothing that strikes another is a reason to end.
            "nothing_ended_by_itself": [],
            "it_worked_again_by_itself": [],
            "forged_webhooks_were_refused": [],
        }

    @property
    def names(self) -> Sequence[str]:
        """The name of every fault."""
        return [fault.name for faults in self._faults.values() for fault in faults]

    def _wait(self) -> float:
        return self._chance.expovariate(1 / self.every_seconds)

    def step(self) -> None:
        """Heal what is due, look what has recovered, and strike where it is time to."""
        now = time.monotonic()
        due = [heal for at, heal in self._healing if at <= now]
        self._healing = [(at, heal) for at, heal in self._healing if at > now]
        for heal in due:
            heal()
        self.start_what_ended()
        self._look(now)
        if now >= self._next and self.rounds != self.most_rounds:
            self._round = self._round or self._chance.sample(ROUND, len(ROUND))
            # What cannot be struck now has its turn a moment later.
            with suppress(NothingToStrike):
                self._strike_one(self._round[-1])
                self._round.pop()
                self.rounds += not self._round
            self._next = time.monotonic() + self._wait()

    def _strike_one(self, kind: str) -> None:
        """Strike by one of a kind; none comes again before all of its kind have come."""
        every = self._faults[kind]
        left = self._left.get(kind) or self._chance.sample(every, len(every))
        self._strike(left[-1])
        self._left[kind] = left[:-1]

    def _strike(self, fault: Fault) -> None:
        healed = fault.strike()
        self.struck[fault.name] += 1
        if fault.breaks:
            self._broken.append((time.monotonic(), None))
        if healed is not None:
            seconds, heal = healed
            self._healing.append((time.monotonic() + seconds, heal))

    def _look(self, now: float) -> None:
        """Note what the gateway has recovered from: once a sweep came through after the strike."""
        if not self._broken or now - self._looked < 0.25:
            return
        self._looked = now
        with suppress(Exception):  # a database that is away says nothing
            (clock,) = self.stage.rows("SELECT clock_timestamp() AS now")
            self._broken = [(at, since or clock["now"]) for at, since in self._broken]
        left = []
        for at, since in self._broken:
            if since is not None and self.stage.works_since(since):
                self.recoveries.append(time.monotonic() - at)
            else:
                left.append((at, since))
        self._broken = left

    def start_what_ended(self) -> None:
        """Note each part that ended although nobody killed it, and start it anew."""
        for name, process in list(self.stage.processes.items()):
            if name in self.stage.parts and (status := process.poll()) is not None:
                said = f"{name} ended by itself, with {status}."
                self.breaches["nothing_ended_by_itself"].append(said)
                self.stage.start_part(name)

    def heal_everything(self, seconds: float) -> None:
        """Strike no more, heal what is still broken, and wait until the gateway works by itself."""
        for _, heal in self._healing:
            heal()
        self._healing.clear()
        for armed in self.stage.sandbox.faults():
            # No call came that it could meet.
            if not armed["taken"]:
                self.struck[_outside_name(armed["target"], armed["kind"])] -= 1
        for name in [name for name, number in self.struck.items() if not number]:
            del self.struck[name]
        self.stage.sandbox.clear_faults()
        deadline = time.monotonic() + seconds
        while self._broken and time.monotonic() < deadline:
            self._look(time.monotonic())
            time.sleep(0.1)
        if self._broken:
            said = f"The gateway did not work again within {seconds:g} s."
            self.breaches["it_worked_again_by_itself"].append(said)

    # Kinds

    def _every_kind(self) -> Mapping[str, Sequence[Fault]]:
        """The faults, by what they strike."""
        names = list(self.stage.parts)
        kills = {
            part: [
                Fault(f"kill {name}", partial(self._kill, name), breaks=True)
                for name in names
                if name.startswith(part)
            ]
            for part in ("worker", "web", "beat")
        }
        calls: dict[str, list[Fault]] = {
            target: [
                self._outside(target, "delay", seconds=2.0, times=4),
                self._outside(target, "status", status=502, times=3),
                self._outside(target, "reset", times=2),
                self._outside(target, "lose_reply", times=2),
            ]
            for target in OUTSIDE_CALLS
        }
        for target in ("linear", "github"):
            calls[target].append(self._outside(target, "rate_limited", retry_after=1, times=1))
        return {
            **kills,
            **calls,
            "pool": [
                Fault(f"kill one process of {name}", partial(self._kill_pool_process, name))
                for name in names
                if name.startswith("worker")
            ],
            "freeze": [Fault(f"freeze {name}", partial(self._freeze, name)) for name in names],
            "redis": [
                Fault("kill Redis, which comes back empty", self._kill_redis, breaks=True),
                Fault("empty Redis", self._flush_redis),
            ],
            "postgres": [
                Fault("crash PostgreSQL", self._crash_postgres, breaks=True),
                Fault("cut every connection to PostgreSQL", self._cut, breaks=True),
            ],
            "webhooks": [
                self._outside("webhooks", "delay", seconds=1.5, times=4),
                # What is held back is overtaken by what comes later.
                self._outside("webhooks", "hold", seconds=2.5, times=2),
                self._outside("webhooks", "reset", times=3),
                self._outside("webhooks", "lose_reply", times=3),
                Fault("replay old webhooks, twelve at once", self._replay),
            ],
            "signatures": [Fault("send webhooks without and with a wrong signature", self._forge)],
        }

    def _seconds(self) -> float:
        return self._chance.uniform(0.0, 2.5)

    def _kill(self, name: str) -> tuple[float, Heal]:
        if name not in self.stage.processes:
            raise NothingToStrike
        self.stage.kill(name)
        return self._seconds(), lambda: self.stage.start_part(name)

    def _kill_pool_process(self, name: str) -> None:
        """Leave a worker one process short, whose work nobody gives back.

        Not as it starts: one that lost a process before it ran ends, and leaves it to whoever
        started it to do so again.
        """
        if name not in self.stage.processes:
            raise NothingToStrike
        worker = self.stage.processes[name].pid
        if worker not in self._ready:
            if f"-{worker}@" in self.stage.log(name).read_text(errors="replace"):
                self._ready.add(worker)
            raise NothingToStrike
        pool = self.stage.pool_of(name)
        if not pool:
            raise NothingToStrike
        with suppress(ProcessLookupError):
            os.kill(self._chance.choice(pool), signal.SIGKILL)

    def _freeze(self, name: str) -> tuple[float, Heal]:
        if name not in self.stage.processes:
            raise NothingToStrike
        frozen = self.stage.processes[name]
        self.stage.freeze(name)

        def thaw() -> None:
            if self.stage.processes.get(name) is frozen:
                self.stage.thaw(name)

        return self._seconds(), thaw

    def _kill_redis(self) -> tuple[float, Heal]:
        _must_run(self.stage.redis.process)
        self.stage.kill_redis()
        return self._seconds(), self.stage.redis.start

    def _flush_redis(self) -> None:
        _must_run(self.stage.redis.process)
        self.stage.empty_redis()

    def _crash_postgres(self) -> tuple[float, Heal]:
        _must_run(self.stage.postgres.process)
        self.stage.crash_postgres()
        return self._seconds(), self.stage.postgres.start

    def _cut(self) -> None:
        _must_run(self.stage.postgres.process)
        self.stage.cut_connections()

    def _outside(self, target: str, kind: str, **more: object) -> Fault:
        def strike() -> None:
            self.stage.sandbox.fault(target, kind, None, **more)

        return Fault(_outside_name(target, kind), strike)

    def _replay(self) -> None:
        """Linear sends again what it sent long ago, or twice at once what it sent just now."""
        webhooks = self._sent()
        for webhook in self._chance.sample(webhooks, min(3, len(webhooks))):
            self.stage.sandbox.resend(webhook["id"], times=4, concurrently=True)

    def _forge(self) -> None:
        """Nobody who does not know the secret is heard, whatever the body says."""
        body = self._chance.choice(self._sent())["body"]
        for signature in ({}, {"Linear-Signature": "0" * 64}):
            with suppress(httpx.TransportError):  # the web server may be dead just now
                answer = httpx.post(
                    f"{self.stage.url}/resume", content=body, headers=signature, trust_env=False
                )
                if answer.status_code not in {401, 403, 503}:
                    said = f"A forged webhook was answered {answer.status_code}: {body[:200]!r}"
                    self.breaches["forged_webhooks_were_refused"].append(said)

    def _sent(self) -> Sequence[dict[str, Any]]:
        """What Linear sent last."""
        webhooks = self.stage.sandbox.webhooks(newest=60)
        if not webhooks:
            raise NothingToStrike
        return webhooks


def _must_run(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is not None:
        raise NothingToStrike


def _outside_name(target: str, kind: str) -> str:
    return f"{target}: {kind}"

"""What goes wrong, and how it heals: each fault strikes once and says when it is over."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import httpx

from tests.chaos.stage import Stage

Heal: TypeAlias = Callable[[], None]
LINEAR_CALLS = ("linear", "github", "hooks")


@dataclass(frozen=True)
class Fault:
    """One kind of fault; `weight` is how often it strikes beside the others."""

    name: str
    weight: int
    # Strikes, and returns what heals it and after how many seconds, or None where it is over.
    strike: Callable[[], tuple[float, Heal] | None]
    # Whether the gateway as a whole has to recover from it.
    breaks: bool = False


class NotRecovered(AssertionError):
    """The gateway does not come back by itself."""


@dataclass
class Injector:
    """Lets faults strike at random moments; everything happens in the thread that calls `step`.

    `seconds` holds how long it took after each breaking fault until the gateway worked by itself.
    """

    stage: Stage
    seed: int
    every_seconds: float
    struck: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311 - a repeatable mixture
        self._faults = list(self._every_kind())
        self._next = time.monotonic() + self._wait()
        self._healing: list[tuple[float, Heal]] = []
        self._broken: list[tuple[float, Any]] = []
        self._looked = 0.0

    def _wait(self) -> float:
        return self._chance.expovariate(1 / self.every_seconds)

    def step(self) -> None:
        """Heal what is due, look what has recovered, and strike where it is time to."""
        now = time.monotonic()
        due = [heal for at, heal in self._healing if at <= now]
        self._healing = [(at, heal) for at, heal in self._healing if at > now]
        for heal in due:
            heal()
        self._look(now)
        if now >= self._next:
            fault = self._chance.choices(self._faults, [one.weight for one in self._faults])[0]
            self._strike(fault)
            self._next = time.monotonic() + self._wait()

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

    def heal_everything(self, seconds: float) -> None:
        """Strike no more, heal what is still broken, and wait until the gateway works by itself."""
        for _, heal in self._healing:
            heal()
        self._healing.clear()
        self.stage.sandbox.clear_faults()
        deadline = time.monotonic() + seconds
        while self._broken and time.monotonic() < deadline:
            self._look(time.monotonic())
            time.sleep(0.1)
        if self._broken:
            raise NotRecovered(f"The gateway did not work again within {seconds:g} s.")

    # Kinds

    def _every_kind(self) -> Iterator[Fault]:
        for name in self.stage.parts:
            often = 4 if name.startswith("worker") else 2
            yield Fault(f"kill {name}", often, partial(self._kill, name), breaks=True)
            yield Fault(f"freeze {name}", 1, partial(self._freeze, name))
        yield Fault("kill Redis, which comes back empty", 2, self._kill_redis, breaks=True)
        yield Fault("empty Redis", 1, self._flush_redis)
        yield Fault("crash PostgreSQL", 2, self._crash_postgres, breaks=True)
        yield Fault("cut every connection to PostgreSQL", 2, self._cut, breaks=True)
        for target in LINEAR_CALLS:
            for kind, more in (
                ("delay", {"seconds": 2.0, "times": 4}),
                ("status", {"status": 502, "times": 3}),
                ("reset", {"times": 2}),
                ("lose_reply", {"times": 2}),
            ):
                yield self._outside(target, kind, more)
        for target in ("linear", "github"):
            yield self._outside(target, "rate_limited", {"retry_after": 1, "times": 1})
        for kind, more in (
            ("delay", {"seconds": 1.5, "times": 4}),
            # What is held back is overtaken by what comes later.
            ("hold", {"seconds": 2.5, "times": 2}),
            ("reset", {"times": 3}),
            ("lose_reply", {"times": 3}),
        ):
            yield self._outside("webhooks", kind, more)
        yield Fault("replay old webhooks, twelve at once", 3, self._replay)
        yield Fault("send webhooks without and with a wrong signature", 2, self._forge)

    def _seconds(self) -> float:
        return self._chance.uniform(0.0, 2.5)

    def _kill(self, name: str) -> tuple[float, Heal] | None:
        if name not in self.stage.processes:  # dead already
            return None
        self.stage.kill(name)
        return self._seconds(), lambda: self.stage.start_part(name)

    def _freeze(self, name: str) -> tuple[float, Heal] | None:
        if name not in self.stage.processes:
            return None
        frozen = self.stage.processes[name]
        self.stage.freeze(name)

        def thaw() -> None:
            if self.stage.processes.get(name) is frozen:
                self.stage.thaw(name)

        return self._seconds(), thaw

    def _kill_redis(self) -> tuple[float, Heal] | None:
        if self.stage.redis.process.poll() is not None:
            return None
        self.stage.kill_redis()
        return self._seconds(), self._start_redis

    def _start_redis(self) -> None:
        self.stage.redis.start()

    def _flush_redis(self) -> None:
        if self.stage.redis.process.poll() is None:
            self.stage.empty_redis()

    def _crash_postgres(self) -> tuple[float, Heal] | None:
        if self.stage.postgres.process.poll() is not None:
            return None
        self.stage.crash_postgres()
        return self._seconds(), self._start_postgres

    def _start_postgres(self) -> None:
        self.stage.postgres.start()

    def _cut(self) -> None:
        if self.stage.postgres.process.poll() is None:
            self.stage.cut_connections()

    def _outside(self, target: str, kind: str, more: dict[str, Any]) -> Fault:
        def strike() -> None:
            self.stage.sandbox.fault(target, kind, **more)

        return Fault(f"{target}: {kind}", 1, strike)

    def _replay(self) -> None:
        """Linear sends again what it sent long ago, or twice at once what it sent just now."""
        webhooks = self.stage.sandbox.webhooks(newest=60)
        for webhook in self._chance.sample(webhooks, min(3, len(webhooks))):
            self.stage.sandbox.resend(webhook["id"], times=4, concurrently=True)

    def _forge(self) -> None:
        """Nobody who does not know the secret is heard, whatever the body says."""
        webhooks: Sequence[dict[str, Any]] = self.stage.sandbox.webhooks(newest=60)
        if not webhooks:
            return
        body = self._chance.choice(webhooks)["body"]
        for signature in ({}, {"Linear-Signature": "0" * 64}):
            with suppress(httpx.TransportError):  # the web server may be dead just now
                answer = httpx.post(
                    f"{self.stage.url}/resume", content=body, headers=signature, trust_env=False
                )
                if answer.status_code not in {401, 403, 503}:
                    raise AssertionError(f"A forged webhook was answered {answer.status_code}.")

"""Killed at whichever point, the gateway recovers: nothing lost, nothing twice, nothing undecided.

`make test` takes a point of each scenario; `python -m tests.chaos.crash_points` takes them all.
"""

import os
import random
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import pytest
from pytest_django import Settings

from agents import checkpoints
from agents.operations import load_operations
from agents.templates import workflow_templates
from approvals import outbox
from tests.chaos import crash_world
from tests.chaos.crash_points import EVERY_POINT
from tests.chaos.crash_scenarios import SCENARIOS, Scenario
from tests.chaos.crash_world import World, write_quick_configuration
from tests.chaos.crashing import Point, in_child
from tests.chaos.load import Life
from tests.integrations.linear_world import WEBHOOK_SECRET
from tests.sandbox_process import GITHUB_TOKEN, LINEAR_API_KEY, REPOSITORY, Sandbox

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(1200)]
SEED = 20
# Slow to read, so looked at only in the end.
METRICS = "metrics_tell_the_tables"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox for all scenarios, each of which empties it first."""
    started = Sandbox.start(tmp_path_factory.mktemp("crash-sandbox"), empty=True)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Commands that are over at once."""
    return write_quick_configuration(tmp_path_factory.mktemp("crash") / "config")


@pytest.fixture
def world(
    scenario: Scenario,
    sandbox: Sandbox,
    configuration: Path,
    tmp_path: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    """A gateway in this process, with the channels that the scenario needs."""
    sandbox.reset()
    monkeypatch.setenv("HITL_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("HITL_OPERATIONS_URL", sandbox.hooks_url)
    settings.HITL_DATA_DIR = tmp_path
    settings.HITL_CONFIG_DIR = configuration
    settings.LINEAR_API_KEY = LINEAR_API_KEY
    settings.LINEAR_API_URL = sandbox.linear_url
    settings.GITHUB_TOKEN = GITHUB_TOKEN
    settings.GITHUB_API_URL = sandbox.github_url
    settings.GITHUB_REPOSITORIES = [REPOSITORY]
    settings.HITL_CHANNELS = scenario.channels
    settings.HITL_EXECUTORS = {**settings.HITL_EXECUTORS, "command": crash_world.COMMAND}
    settings.HITL_GRAPHS = {
        name: (f"tests.e2e.graphs.{name}", "1")
        for name in ("one_question", "same_question_twice", "two_regions")
    }
    settings.LINEAR_WEBHOOK_SECRETS = [WEBHOOK_SECRET]
    _forget()
    # Recovering needs no hints, which may be lost; whoever dies in a child sends them.
    monkeypatch.setattr(outbox, "hint_task", crash_world.send_in_child)
    made = World(sandbox, tmp_path)
    made.people()
    yield made
    checkpoints.disconnect()
    _forget()


def _forget() -> None:
    """Let go of what this process keeps of its settings."""
    outbox.channels.cache_clear()
    load_operations.cache_clear()
    workflow_templates.cache_clear()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
def test_a_death_at_any_point_loses_nothing_and_repeats_nothing(
    world: World, scenario: Scenario
) -> None:
    unharmed, points = _live(world, scenario, 0, None)
    lives = [unharmed]
    chosen = _chosen(points)
    for number in chosen:
        life, _ = _live(world, scenario, number + 1, number)
        lives.append(life)
    sys.stdout.write(f"{scenario.name}: {len(chosen)} of {len(points)} points\n")
    broken = world.breaches(lives, without=scenario.until_repeated | {METRICS})
    for life in lives[1:]:
        scenario.repeat(world, life)
    world.recover()
    if world.needs_somebody():
        broken += world.breaches(lives, without=scenario.until_settled | {METRICS})
        world.settle_runs()
    broken += world.breaches(lives)
    broken += [f"It needs somebody once more: {run.attention}" for run in world.needs_somebody()]
    assert not broken, _explained(broken, lives, points)


def _live(
    world: World, scenario: Scenario, number: int, fatal: int | None
) -> tuple[Life, Sequence[Point]]:
    """One life, whether it ends before its time or not, and what the gateway makes of it."""
    life = scenario.life(number)
    scenario.prepare(world, life)

    def act() -> dict[str, object]:
        scenario.act(world, life)
        return vars(life)

    ending = in_child(act, fatal)
    assert ending.killed == (fatal is not None), "Not every run has the same points."
    world.recover()
    return life if ending.killed else Life(**ending.returned), ending.passed


def _chosen(points: Sequence[Point]) -> Sequence[int]:
    """The numbers of the points to die at, or one for a short look.

    Each of those that leave something else behind is as likely, however many statements it has.
    """
    if EVERY_POINT in os.environ:
        return range(len(points))
    chance = random.Random(SEED)  # noqa: S311 - a repeatable choice
    alike = groupby(range(len(points)), key=lambda number: points[number].changes)
    return [chance.choice(chance.choice([list(numbers) for _, numbers in alike]))]


def _explained(broken: Sequence[str], lives: Sequence[Life], points: Sequence[Point]) -> str:
    """The breaches, each with where the life that it names was killed."""
    explained = []
    for sentence in broken:
        killed = [
            f" [killed {points[life.plan['number'] - 1].name}]"
            for life in lives
            if life.plan["number"]
            and any(name and name in sentence for name in (*life.requests, life.workflow_id))
        ]
        explained.append(sentence + "".join(killed))
    return "\n".join(explained)

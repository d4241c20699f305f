"""What the benchmark says of figures: ratios, goals, and what else was seen."""

from collections.abc import Sequence

import pytest

from bench import report, soak
from bench.load import Load
from bench.measure import Bound, Counts, Fact, Figures, Limit, Ratio, Result, Side, compare
from bench.soak import Sample


def result(ours: float, floor: float, *goals: Ratio | Limit | Bound) -> Result:
    """A measure in which one operation takes so many seconds, and so many are done a second."""
    gateway, bare = (
        Figures(label, seconds=[value], rates=[1 / value])
        for label, value in (("gateway", ours), ("floor", floor))
    )
    return Result("something", gateway, bare, goals, [Fact("memory", 7, "MB")])


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        (Ratio("p50_ms", 2), True),
        (Ratio("p50_ms", 1.9), False),
        (Ratio("p50_ms", 1, plus_ms=1000), True),
        (Ratio("p50_ms", 1, plus_ms=999), False),
        (Ratio("per_second", 0.5), True),
        (Ratio("per_second", 0.6), False),
        (Limit("p95_ms", 2000), True),
        (Limit("p95_ms", 1999), False),
        (Bound("memory", 7, "MB"), True),
        (Bound("memory", 6.9, "MB"), False),
    ],
)
def test_a_goal_is_met_or_missed(goal: Ratio | Limit | Bound, met: bool) -> None:
    (told,) = result(2.0, 1.0, goal).to_json()["goals"]
    assert told["met"] is met
    assert told["goal"] == goal.text()


def test_both_sides_take_turns_to_be_first_after_a_warm_up() -> None:
    done: list[tuple[str, int]] = []

    def side(label: str) -> Side:
        def work(count: int) -> Load:
            done.append((label, count))
            return Load([0.001] * count, 0.001 * count, cpu_seconds=0.0005 * count)

        return Side(label, work, work)

    measured = compare("turns", side("a"), side("b"), Counts(2, alone=3, together=4, warm_up=1))
    warm_up = [("b", 1), ("b", 1), ("a", 1), ("a", 1)]
    first, second = (
        [("b", 3), ("a", 3), ("b", 4), ("a", 4)],
        [("a", 3), ("b", 3), ("a", 4), ("b", 4)],
    )
    assert done == [*warm_up, *first, *second]
    told = measured.to_json()["gateway"]
    assert len(told["all_ms"]) == 6
    assert told["all_per_second"] == pytest.approx([1000, 1000])
    assert told["generator_cpu_ms"] == pytest.approx(0.5)


def test_the_tables_tell_figures_goals_and_facts() -> None:
    measured = result(2.0, 1.0, Ratio("p50_ms", 1.5), Bound("memory", 10, "MB")).to_json()
    figures = {
        "measured_at": "2026-01-01T00:00:00+00:00",
        "took_seconds": 1.0,
        "scale": 1000,
        "machine": {"cpus": 2, "python": "3.11"},
        "measures": [measured],
    }
    printed = report.text(figures)
    assert "goal: p50 at most 1.5 x - missed (2.00 x)" in printed
    assert "goal: memory at most 10 MB - met (7 MB)" in printed
    assert printed.endswith("1 of 2 goals met")
    page = report.markdown(figures).splitlines()
    assert "| something | gateway | 2,000 | 2,000 | 2,000 | 0.50 |" in page
    assert "| something | p50 at most 1.5 x | 2.00 x | **missed** |" in page
    assert "| something | memory | 7.00 MB |" in page


def samples(memory: Sequence[float], files: Sequence[int]) -> list[Sample]:
    """A look at one process each minute."""
    pairs = zip(memory, files, strict=True)
    return [Sample(m, "web", 0, held, number, 0) for m, (held, number) in enumerate(pairs)]


def test_a_soak_fails_what_grows_in_the_second_half_only() -> None:
    flat, warming = [100.0] * 60, [*range(40, 70), *[70] * 30]
    assert soak.grown(samples(flat, [9] * 60)) == []
    assert soak.grown(samples(warming, [9] * 60)) == []
    leaking = [100 + minute * 0.3 for minute in range(60)]
    (memory,) = soak.grown(samples(leaking, [9] * 60))
    assert memory.startswith("The memory of web grew by 8.7 MB")
    (files,) = soak.grown(samples(flat, list(range(60))))
    assert files == "web had 29 more files open at the end."

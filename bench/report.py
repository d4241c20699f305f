"""The figures of a run as a table, for a terminal and for the documentation."""

from collections.abc import Iterator, Mapping
from typing import Any

from bench.measure import RATE, TIMES

Json = Mapping[str, Any]

_HEADS = ("p50 ms", "p95 ms", "p99 ms", "per second")
_FIGURES = (*TIMES, RATE)
_NAME = 46


def text(report: Json) -> str:
    """The measures for a terminal: each side, their ratio, what else was seen, and the goals."""
    lines = [" " * _NAME + "".join(f"{head:>12}" for head in _HEADS)]
    for measure in report["measures"]:
        lines += ["", measure["measure"], *_lines(measure)]
    goals = [goal for measure in report["measures"] for goal in measure["goals"]]
    met = sum(goal["met"] for goal in goals)
    return "\n".join([*lines, "", f"{met} of {len(goals)} goals met"])


def _lines(measure: Json) -> Iterator[str]:
    for side in ("gateway", "floor"):
        if values := measure[side]:
            figures = "".join(f"{_number(values.get(name)):>12}" for name in _FIGURES)
            yield f"  {values['label']:{_NAME - 2}}{figures}"
    if ratios := measure["ratio"]:
        shown = (f"{ratios[name]:.2f} x" if name in ratios else "" for name in _FIGURES)
        yield f"{'  ratio':{_NAME}}" + "".join(f"{ratio:>12}" for ratio in shown)
    for fact in measure["facts"]:
        yield f"  {fact['name']}: {_number(fact['value'])} {fact['unit']}"
    if costs := _costs(measure):
        yield f"  load generator: {costs}"
    for goal in measure["goals"]:
        yield f"  goal: {goal['goal']} - {_verdict(goal)}"


def markdown(report: Json) -> str:
    """The measures as tables of docs/performance.md."""
    machine = report["machine"]
    taken = f"{report['measured_at']} in {report['took_seconds']:.0f} s"
    where = f"{machine['cpus']} cores, Python {machine['python']}"
    lines = [
        f"Measured at {taken}, with {report['scale']:,} requests, on {where}.",
        "",
        "| measure | side | p50 ms | p95 ms | p99 ms | per second |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for measure in report["measures"]:
        for side in ("gateway", "floor"):
            if values := measure[side]:
                name = measure["measure"] if side == "gateway" else ""
                figures = " | ".join(_number(values.get(figure)) for figure in _FIGURES)
                lines.append(f"| {name} | {values['label']} | {figures} |")
    lines += ["", "| measure | goal | reached | |", "|---|---|---|---|"]
    for measure in report["measures"]:
        for goal in measure["goals"]:
            verdict = "met" if goal["met"] else "**missed**"
            lines.append(
                f"| {measure['measure']} | {goal['goal']} | {goal['reached']} | {verdict} |"
            )
    lines += ["", "| measure | seen | |", "|---|---|--:|"]
    for measure in report["measures"]:
        for fact in measure["facts"]:
            value = f"{_number(fact['value'])} {fact['unit']}"
            lines.append(f"| {measure['measure']} | {fact['name']} | {value} |")
        if costs := _costs(measure):
            lines.append(f"| {measure['measure']} | load generator | {costs} |")
    return "\n".join(lines)


def _costs(measure: Json) -> str:
    """What one operation cost the process that made the load, on each side."""
    sides = [measure[side] for side in ("gateway", "floor") if measure[side]]
    costs = [
        f"{side['generator_cpu_ms']:.2f} ms ({side['label']})"
        for side in sides
        if side["generator_cpu_ms"] is not None
    ]
    return f"CPU an operation {', '.join(costs)}" if costs else ""


def _verdict(goal: Json) -> str:
    return f"{'met' if goal['met'] else 'missed'} ({goal['reached']})"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}"

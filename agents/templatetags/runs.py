"""Tags about runs: their status, what their actions printed, and the compact steps of one."""

from typing import Any

from django import template

from agents import selectors, wording
from agents.models import Execution, Run
from agents.outline import Outline, StepView
from approvals.clock import clock
from approvals.masking import quiet, quiet_json
from approvals.wording import arguments

register = template.Library()

OUTPUT_SHOWN = 8000


@register.filter
def run_title(run: Run) -> str:
    """What a run does, as a heading."""
    return wording.title(run)


@register.filter
def arguments_of(step: StepView, run: Run) -> str:
    """A step's plain arguments on one line, secrets masked."""
    return arguments(quiet_json(run, {"arguments": step.arguments}))


@register.filter
def ended_with(execution: Execution) -> str:
    """How an action ended, by its record: "exit 3"."""
    return wording.ended_with(execution.data)


@register.filter
def took(execution: Execution) -> str:
    """How long an action was at work, in words; nothing while it is."""
    return wording.took(execution.started_at, execution.finished_at)


@register.simple_tag
def where_it_stands(run: Run, outline: Outline) -> str:
    """Where a run stands, in a sentence."""
    return wording.where(run, outline)


@register.inclusion_tag("agents/_run_status.html")
def run_status(name: str) -> dict[str, str]:
    """The status of a run or of a step by shape, colour and word."""
    return {"name": name, "word": wording.STATUSES.get(name, name)}


@register.inclusion_tag("agents/_track.html")
def track(outline: Outline) -> dict[str, Any]:
    """How far a run has come: a mark for each step, and "step 2 of 4"."""
    return {"outline": outline}


@register.inclusion_tag("agents/_output.html")
def output_of(execution: Execution, run: Run) -> dict[str, Any]:
    """What an action printed or answered, folded, secrets masked: its end, if it is long."""
    text = quiet(run, execution.output)
    left_out = max(0, len(text) - OUTPUT_SHOWN)
    return {"execution": execution, "text": text[left_out:], "left_out": left_out}


@register.inclusion_tag("agents/_run_steps.html", takes_context=True)
def run_of(context: template.Context, asked: Any) -> dict[str, Any]:
    """The steps of the run behind a request, and where it stands; nothing where there is none.

    `asked` is the request's row, or the id of a thread or a workflow. With the row, the step that
    asked is marked, and a request of an agent elsewhere, which may name any thread, shows nothing.
    """
    ours = getattr(asked, "interrupt_id", True)
    thread_id = str(getattr(asked, "thread_id", asked))
    found = None
    if ours and thread_id:
        found = selectors.run_outline(thread_id, context.get("now") or clock())
    if found is None:
        return {}
    return {"run": found.run, "outline": found.outline, "asked_id": getattr(asked, "pk", None)}

"""What the gateway is killed at: each verb, delivery, turn, resume and execution, one at a time."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import patch
from uuid import UUID

from django.test import Client, override_settings

import agents.services
import approvals.tasks
from agents import restoring, turns
from agents.models import Execution
from approvals import metrics, outbox, services
from approvals.clock import clock
from approvals.core.lifecycle import Choice
from approvals.errors import AlreadyDecided, AlreadyEnded, NotAllowed
from approvals.metrics import rollup
from approvals.models import ApiToken, ApprovalRequest, DatabaseIdentity, Delivery
from tests.approvals.scenes import pass_deadline
from tests.chaos import crash_world
from tests.chaos.crash_world import World, turn
from tests.chaos.load import Life
from tests.chaos.plans import GRAPHS, Plan
from tests.integrations.linear_world import dumped, move_event, signed

LINEAR = "integrations.linear.channel.LinearChannel"
GITHUB = "integrations.github.channel.GitHubChannel"
WORKFLOW = "integrations.workflow.WorkflowChannel"

Step = Callable[[World, Life], None]
Json = dict[str, Any]

# What holds once whoever was told nothing has said it again.
AFTER_THE_REPETITION = frozenset({"lives_were_led", "what_people_said_counts"})


def nothing(world: World, life: Life) -> None:
    """Nobody does anything."""
    del world, life


@dataclass(frozen=True)
class Scenario:
    """What is there before, what is killed, and what those do who were told nothing.

    `prepare` and `repeat` happen in this process, `act` in the one that dies. `until_repeated`
    names the invariants that need not hold before the repetition.
    """

    name: str
    prepare: Step
    act: Step
    repeat: Step = nothing
    operation: str = "repair"
    environment: str = "production"
    end: str = ""
    channels: Sequence[str] = (WORKFLOW,)
    until_repeated: frozenset[str] = field(default=AFTER_THE_REPETITION)

    def life(self, number: int) -> Life:
        """A life of its own for one death."""
        label = f"{self.name.replace(' ', '-')}-{number}"
        plan = Plan(number, label, self.operation, self.environment, 1, self.end, "api", None)
        return Life(asdict(plan))


# Requests of somebody who runs what is approved elsewhere


def ask(world: World, life: Life, more: str = "") -> None:
    """Open a request by API; the same again gives the same."""
    label = life.plan["label"]
    opened = services.open_request(
        workflow_id=label,
        thread_id="elsewhere",
        agent_name="cicd",
        task={"operation": life.plan["operation"], "environment": life.plan["environment"]},
        actor=world.actor("rosa"),
        idempotency_key=label + more,
        **_pulls.get(label, {}),
    )
    life.requests.append(str(opened.request_id))


# The pull request that a life is about, by its label.
_pulls: dict[str, Json] = {}


def open_pull(world: World, life: Life) -> None:
    """Have a pull request to be asked about."""
    _pulls[life.plan["label"]] = world.pull()


def vote(world: World, life: Life, who: str = "ada", choice: Choice = Choice.APPROVE) -> None:
    """Vote, and keep what was answered; a request that is decided already is an answer too."""
    with suppress(AlreadyDecided):
        ballot = services.cast_vote(
            request_of(life), actor=world.actor(who), choice=choice, comment="Go."
        )
        life.told.append(
            {"request": str(ballot.request_id), "who": who, "status": str(ballot.status)}
        )


def request_of(life: Life) -> UUID:
    """The request that a life is about."""
    return UUID(life.requests[-1])


def refused(world: World, life: Life) -> None:
    """Somebody votes who may not."""
    try:
        vote(world, life, "nora")
    except NotAllowed:
        return
    raise AssertionError("Nora was let decide.")


def expire(world: World, life: Life) -> None:
    """The sweep comes by."""
    del world, life
    services.expire_overdue()


def cancel(world: World, life: Life) -> None:
    """Whoever asked takes it back."""
    with suppress(AlreadyDecided):
        services.cancel_request(
            request_of(life), actor=world.actor("rosa"), reason="No longer wanted."
        )


def supersede(world: World, life: Life) -> None:
    """The workflow asks for something else now."""
    del world
    with suppress(AlreadyDecided):
        services.supersede_request(request_of(life), reason="Something else is asked for.")


ask_more = partial(ask, more="-second")


def three_overdue(world: World, life: Life) -> None:
    """Three requests that nobody decided in time."""
    for more in ("", "-second", "-third"):
        ask(world, life, more)
    pass_deadline(*map(UUID, life.requests))


def give_up(world: World, life: Life) -> None:
    """A request that Linear could not be told of."""
    ask(world, life)
    rows = Delivery.objects.filter(request_id=request_of(life), channel="linear")
    rows.update(attempts=3, gave_up_at=clock(), last_error="Linear was away.")


def retry_delivery(world: World, life: Life) -> None:
    """Olga has it tried again."""
    row = Delivery.objects.get(request_id=request_of(life), channel="linear")
    services.retry_delivery(row.pk, actor=world.actor("olga"), reason="Linear is back.")


def move(world: World, life: Life) -> None:
    """Ada moves the issue in Linear, of which the gateway is not told yet."""
    world.sandbox.move(life.requests[-1], "Approved", "ada", webhook=False)
    body = dumped(move_event(life.requests[-1], "Approved"))
    _webhooks[life.plan["label"]] = body, signed(body)


def nudge(world: World, life: Life) -> None:
    """The gateway is about to look at the issue, whatever it was told."""
    del world
    outbox.nudge(request_of(life), "linear")


# What Linear sends for a life, by its label: the same each time it is sent.
_webhooks: dict[str, tuple[bytes, Mapping[str, str]]] = {}


def send_webhook(world: World, life: Life) -> None:
    """Linear tells what Ada did."""
    del world
    body, headers = _webhooks[life.plan["label"]]
    kind = headers["Content-Type"]
    answer = Client().post("/resume", data=body, content_type=kind, headers=dict(headers))
    assert answer.status_code == 200, answer.content


def tell(channel: str) -> Step:
    """One worker tells one channel what it is owed."""

    def deliver(world: World, life: Life) -> None:
        del world, life
        assert outbox.deliver_next(channel)

    return deliver


def recover(world: World, life: Life) -> None:
    """Everything that is owed is done."""
    del life
    world.recover()


# Runs


def start(world: World, life: Life) -> None:
    """Start a run by API; the same again gives the same."""
    plan = life.plan
    task = {name: plan[name] for name in ("operation", "environment", "label")}
    workflow = plan["operation"] if plan["operation"] in GRAPHS else "task"
    if plan["operation"] in GRAPHS:
        task["operation"] = "deploy"
    run = agents.services.start_run(
        actor=world.actor("rosa"), workflow=workflow, task=task, idempotency_key=plan["label"]
    )
    life.workflow_id = str(run.pk)


def asks(world: World, life: Life) -> None:
    """Its run waits for people."""
    del world
    turn()
    rows = ApprovalRequest.objects.filter(workflow_id=life.workflow_id)
    life.requests[:] = [str(row.pk) for row in rows]


def take_turn(world: World, life: Life) -> None:
    """A worker gives the run its turn."""
    del world, life
    turn()


def cancel_run(world: World, life: Life) -> None:
    """Whoever asked ends it."""
    with suppress(AlreadyEnded):
        agents.services.cancel_run(
            UUID(life.workflow_id), actor=world.actor("rosa"), reason="No longer wanted."
        )


def overtaken(step: Step) -> Step:
    """The run is cancelled just before its next question is written down."""

    def do(world: World, life: Life) -> None:
        ask = turns._open  # noqa: SLF001 - the moment cannot be met from outside

        def late(*given: Any) -> Any:
            cancel_run(world, life)
            return ask(*given)

        with patch.object(turns, "_open", late):
            step(world, life)

    return do


class _Died(BaseException):
    """Stands for a worker that is gone."""


def leaves(step: Step) -> Step:
    """Whoever takes the step dies once the next question is written down."""

    def do(world: World, life: Life) -> None:
        with suppress(_Died), patch.object(turns, "_record", side_effect=_Died):
            step(world, life)
        world.let_time_pass()

    return do


def loses_sight(outcome: str) -> Step:
    """The run's action is begun, and nobody hears what came of it."""

    def lose(world: World, life: Life) -> None:
        del life
        crash_world.next_outcomes.append(outcome)
        world.recover()

    return lose


def settle(outcome: str) -> Step:
    """Olga says how the run goes on."""

    def say(world: World, life: Life) -> None:
        # Settled already, which she sees.
        with suppress(NotAllowed):
            agents.services.settle_run(
                UUID(life.workflow_id), outcome, actor=world.actor("olga"), reason="I have looked."
            )

    return say


# People, and what keeps house


def create_approver(world: World, life: Life) -> None:
    """An administrator makes an account, or makes it what it is to be."""
    del world
    name = life.plan["label"]
    services.create_approver(name, email=f"{name}@example.com", groups=("platform",))


def sign_on(world: World, life: Life) -> None:
    """Somebody comes from their provider, for the first time as far as anybody knows."""
    del world
    name, groups = life.plan["label"], frozenset({"platform"})
    person = services.Person("https://id.example.com", subject=name, name=name, groups=groups)
    services.admit_person(person, governed=groups)


def create_token(world: World, life: Life) -> None:
    """Ada makes a token; one that nobody was shown is no use, and she makes another."""
    services.create_token("ada", scope="decide", label=life.plan["label"], actor=world.actor("ada"))


def revoke_token(world: World, life: Life) -> None:
    """Ada revokes it."""
    (token,) = ApiToken.objects.filter(label=life.plan["label"])
    with suppress(NotAllowed):
        services.revoke_token(token.pk, actor=world.actor("ada"), reason="It was seen.")


def roll_up(world: World, life: Life) -> None:
    """What is final is added up for the metrics, as if nobody could decide in the past any more."""
    del world, life
    with patch.object(rollup, "MARGIN", timedelta(0)):
        metrics.roll_up(seconds=60)


def purge(world: World, life: Life) -> None:
    """Retention comes by, when all that is final is old."""
    del world, life
    with override_settings(HITL_RETENTION_DAYS=-1):
        approvals.tasks.purge_old()


def restore(world: World, life: Life) -> None:
    """The database turns out to be a copy that was restored."""
    del world, life
    DatabaseIdentity.objects.update(identity="another/00000001/1/1")


def accept_database(world: World, life: Life) -> None:
    """Olga says that the copy is the gateway's own from now on."""
    del life
    restoring.accept_database(actor=world.actor("olga"), reason="The disk is gone.")


def nothing_ran(world: World, life: Life) -> None:
    """Until somebody has looked, nothing of the run is begun, whatever was decided."""
    del world
    assert not Execution.objects.filter(run_id=life.workflow_id).exists()


def together(*steps: Step) -> Step:
    """One after the other."""

    def do(world: World, life: Life) -> None:
        for step in steps:
            step(world, life)

    return do


reject = partial(vote, choice=Choice.REJECT)
waits = together(start, asks)
approved = together(waits, vote)
lost_before = together(approved, loses_sight("lost_before"))
lost_after = together(approved, loses_sight("lost_after"))
resume = tell("workflow")
abroad = (LINEAR, GITHUB)
everywhere = (*abroad, WORKFLOW)

SCENARIOS = (
    Scenario("open a request", open_pull, ask, ask, channels=abroad),
    Scenario("vote and decide", waits, vote, vote, end="approve", channels=everywhere),
    Scenario("reject", ask, reject, reject, end="reject", channels=abroad),
    Scenario("vote without deciding", ask, vote, vote, operation="pair", channels=abroad),
    Scenario("vote and be refused", ask, refused, refused, channels=abroad),
    Scenario("cancel a request", ask, cancel, cancel, channels=abroad),
    Scenario("supersede a request", ask, supersede, supersede, channels=abroad),
    Scenario("expire three requests", three_overdue, expire, channels=abroad),
    Scenario(
        *("retry a delivery", give_up, retry_delivery, retry_delivery),
        channels=abroad,
        until_repeated=AFTER_THE_REPETITION | {"nothing_is_owed", "one_issue_each"},
    ),
    Scenario(
        *("hear a webhook", together(waits, recover, move), send_webhook, send_webhook),
        end="approve",
        channels=everywhere,
        until_repeated=AFTER_THE_REPETITION | {"one_issue_each"},
    ),
    Scenario(
        *("hear a move from Linear", together(ask, recover, move, nudge), tell("linear")),
        end="approve",
        channels=(LINEAR,),
    ),
    Scenario(
        *("tell Linear of an opening", together(open_pull, ask), tell("linear")),
        channels=(LINEAR,),
    ),
    Scenario(
        *("tell Linear of a decision", together(ask, recover, vote), tell("linear")),
        end="approve",
        channels=(LINEAR,),
    ),
    Scenario(
        *("tell GitHub of an opening", together(open_pull, ask), tell("github")),
        channels=(GITHUB,),
    ),
    Scenario(
        *("tell GitHub of a decision", together(open_pull, ask, recover, vote), tell("github")),
        end="approve",
        channels=(GITHUB,),
    ),
    Scenario("start a run", nothing, start, start),
    Scenario("take the first turn", start, take_turn),
    Scenario(
        *("run what needs no approval", start, take_turn),
        operation="deploy",
        environment="staging",
    ),
    Scenario("cancel a run", waits, cancel_run, cancel_run),
    Scenario(
        "give a cancelled run its last turn",
        together(start, leaves(overtaken(take_turn))),
        *(take_turn, cancel_run),
    ),
    Scenario(
        *("resume a run that is cancelled", approved, overtaken(resume), cancel_run),
        operation="same_question_twice",
        end="approve",
    ),
    Scenario("resume and run once", approved, resume, operation="replace", end="approve"),
    Scenario("resume and run a repeatable command", approved, resume, end="approve"),
    Scenario("resume and call", approved, resume, operation="db_migrate", end="approve"),
    Scenario("resume after a rejection", together(waits, reject), resume, end="reject"),
    Scenario(
        *("resume a graph of others", approved, resume), operation="one_question", end="approve"
    ),
    Scenario(
        *("settle as done", lost_after, settle("done"), settle("done")),
        operation="replace",
        end="approve",
    ),
    Scenario(
        *("settle as retry", lost_before, settle("retry"), settle("retry")),
        operation="replace",
        end="approve",
    ),
    Scenario(
        *("go on after a retry", together(lost_before, settle("retry")), take_turn),
        operation="replace",
        end="approve",
    ),
    Scenario(
        *("settle as abandoned", lost_before, settle("abandon"), settle("abandon")),
        operation="replace",
        end="approve",
    ),
    Scenario(
        # Whoever lived before is held by the first word, and goes on when all is over.
        *("accept a restored database", together(accept_database, approved, restore)),
        *(accept_database, together(nothing_ran, accept_database)),
        operation="replace",
        end="approve",
        until_repeated=AFTER_THE_REPETITION | {"nothing_is_owed", "runs_are_at_rest"},
    ),
    Scenario("make an account", ask, create_approver, create_approver, channels=()),
    Scenario("sign on", ask, sign_on, sign_on, channels=()),
    Scenario("make a token", ask, create_token, create_token, channels=()),
    Scenario(
        *("revoke a token", together(ask, create_token), revoke_token, revoke_token), channels=()
    ),
    Scenario(
        # The first time, it does more than any other time.
        *("roll up the metrics", together(ask, vote, roll_up, ask_more, vote), roll_up),
        end="approve",
        channels=(),
    ),
    Scenario("purge what is old", together(approved, recover), purge, purge, end="approve"),
)

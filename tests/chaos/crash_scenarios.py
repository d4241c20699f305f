"""What the gateway is killed at: each verb, delivery, turn, resume and execution, one at a time."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

from tests.chaos import crash_acts as acts
from tests.chaos.crash_acts import Step, nothing, tell, together
from tests.chaos.load import Life
from tests.chaos.plans import Plan

LINEAR = "integrations.linear.channel.LinearChannel"
GITHUB = "integrations.github.channel.GitHubChannel"
WORKFLOW = "integrations.workflow.WorkflowChannel"

# What holds once whoever was told nothing has said it again.
AFTER_THE_REPETITION = frozenset({"lives_were_led", "what_people_said_counts"})
# What a decision that could not be handed to its run leaves to a person.
GIVEN_UP = frozenset(
    {
        *("nothing_is_owed", "people_are_needed_for_a_reason"),
        *("nothing_approved_was_left_undone", "what_people_said_counts"),
    }
)
# How many people each of these needs, where that is not one.
QUORUMS = {"pair": 2}


@dataclass(frozen=True)
class Scenario:
    """What is there before, what is killed, and what those do who were told nothing.

    `prepare` and `repeat` happen in this process, `act` in the one that dies. `until_repeated`
    names the invariants that need not hold before the repetition, `until_settled` those that need
    not hold before somebody has settled what needs attention.
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
    until_settled: frozenset[str] = frozenset()

    def life(self, number: int) -> Life:
        """A life of its own for one death."""
        label = f"{self.name.replace(' ', '-')}-{number}"
        quorum = QUORUMS.get(self.operation, 1)
        plan = Plan(number, label, self.operation, self.environment, quorum, self.end, "api", None)
        return Life(asdict(plan))


abroad = (LINEAR, GITHUB)
everywhere = (*abroad, WORKFLOW)

SCENARIOS = (
    Scenario("open a request", acts.open_pull, acts.ask, acts.ask, channels=abroad),
    Scenario(
        "vote and decide", acts.waits, acts.vote, acts.vote, end="approve", channels=everywhere
    ),
    Scenario("reject", acts.ask, acts.reject, acts.reject, end="reject", channels=abroad),
    Scenario(
        "vote without deciding", acts.ask, acts.vote, acts.vote, operation="pair", channels=abroad
    ),
    Scenario("vote and be refused", acts.ask, acts.refused, acts.refused, channels=abroad),
    Scenario(
        "turn away who may not vote", acts.ask, acts.turned_away, acts.turned_away, channels=abroad
    ),
    Scenario(
        *("ask for what needs no approval", nothing, acts.ask, acts.ask),
        operation="deploy",
        environment="staging",
        channels=abroad,
    ),
    Scenario("cancel a request", acts.ask, acts.cancel, acts.cancel, channels=abroad),
    Scenario("supersede a request", acts.ask, acts.supersede, acts.supersede, channels=abroad),
    Scenario("expire three requests", acts.three_overdue, acts.expire, channels=abroad),
    Scenario(
        *("retry a delivery", acts.give_up, acts.retry_delivery, acts.retry_delivery),
        channels=abroad,
        until_repeated=AFTER_THE_REPETITION | {"nothing_is_owed", "one_issue_each"},
    ),
    Scenario(
        "hear a webhook",
        together(acts.waits, acts.recover, acts.move),
        acts.send_webhook,
        acts.send_webhook,
        end="approve",
        channels=everywhere,
        until_repeated=AFTER_THE_REPETITION | {"one_issue_each"},
    ),
    Scenario(
        "hear a move from Linear",
        together(acts.ask, acts.recover, acts.move, acts.nudge),
        tell("linear"),
        end="approve",
        channels=(LINEAR,),
    ),
    Scenario(
        "hear a comment",
        together(acts.ask, acts.recover, acts.comment),
        acts.send_webhook,
        acts.send_webhook,
        end="approve",
        channels=(LINEAR,),
    ),
    Scenario(
        "hear a reaction",
        together(acts.ask, acts.recover, acts.react),
        acts.send_webhook,
        acts.send_webhook,
        end="approve",
        channels=(LINEAR,),
    ),
    Scenario(
        *("read back what Linear did not tell", together(acts.ask, acts.recover, acts.move)),
        *(acts.reconcile, acts.reconcile),
        end="approve",
        channels=(LINEAR,),
        until_repeated=AFTER_THE_REPETITION | {"one_issue_each"},
    ),
    Scenario(
        "take back a move in Linear",
        together(acts.ask, acts.recover, partial(acts.move, who="rosa"), acts.nudge),
        tell("linear"),
        channels=(LINEAR,),
    ),
    Scenario(
        *("be told to wait by Linear", together(acts.ask, acts.trouble("linear", "rate_limited"))),
        tell("linear"),
        channels=(LINEAR,),
    ),
    Scenario(
        "fail to tell GitHub",
        together(acts.open_pull, acts.ask, acts.trouble("github", "status", status=502)),
        tell("github"),
        channels=(GITHUB,),
    ),
    Scenario(
        *("tell Linear of an opening", together(acts.open_pull, acts.ask), tell("linear")),
        channels=(LINEAR,),
    ),
    Scenario(
        *("tell Linear of a decision", together(acts.ask, acts.recover, acts.vote), tell("linear")),
        end="approve",
        channels=(LINEAR,),
    ),
    Scenario(
        *("tell GitHub of an opening", together(acts.open_pull, acts.ask), tell("github")),
        channels=(GITHUB,),
    ),
    Scenario(
        "tell GitHub of a decision",
        together(acts.open_pull, acts.ask, acts.recover, acts.vote),
        tell("github"),
        end="approve",
        channels=(GITHUB,),
    ),
    Scenario("start a run", nothing, acts.start, acts.start),
    Scenario("take the first turn", acts.start, acts.take_turn),
    Scenario(
        *("run what needs no approval", acts.start, acts.take_turn),
        operation="deploy",
        environment="staging",
    ),
    Scenario("cancel a run", acts.waits, acts.cancel_run, acts.cancel_run),
    Scenario(
        "give a cancelled run its last turn",
        together(acts.start, acts.leaves(acts.overtaken(acts.take_turn))),
        acts.take_turn,
        acts.cancel_run,
    ),
    Scenario(
        "resume a run that is cancelled",
        acts.approved,
        acts.overtaken(acts.resume),
        acts.cancel_run,
        operation="same_question_twice",
    ),
    Scenario("resume and run once", acts.approved, acts.resume, operation="replace", end="approve"),
    Scenario("resume and run a repeatable command", acts.approved, acts.resume, end="approve"),
    Scenario("resume and call", acts.approved, acts.resume, operation="db_migrate", end="approve"),
    Scenario(
        "resume after a rejection", together(acts.waits, acts.reject), acts.resume, end="reject"
    ),
    Scenario(
        *("resume a graph of others", acts.approved, acts.resume),
        operation="one_question",
        end="approve",
    ),
    Scenario(
        *("resume and dispatch", together(acts.open_pull, acts.approved), acts.resume),
        operation="merge_pull_request",
        end="approve",
    ),
    Scenario(
        *("resume and ask for the next step", acts.approved, acts.resume), operation="changeover"
    ),
    Scenario(
        "resume and undo",
        together(acts.approved, acts.recover, acts.see_requests, acts.reject),
        acts.resume,
        operation="changeover",
        end="reject",
    ),
    Scenario(
        *("resume one of two", together(acts.waits, acts.vote_for_left), acts.resume),
        operation="two_regions",
    ),
    Scenario(
        "ask something else than before",
        together(acts.waits, acts.vote_for_left, acts.change_right),
        acts.resume,
        operation="two_regions",
    ),
    Scenario("cancel a run at work", acts.approved, acts.resume_and_cancel, operation="replace"),
    Scenario(
        *("flag a resume that was given up", together(acts.approved, acts.give_up_resume)),
        *(acts.flag_given_up, acts.flag_given_up),
        operation="replace",
        end="approve",
        until_repeated=AFTER_THE_REPETITION | GIVEN_UP,
        until_settled=GIVEN_UP,
    ),
    Scenario(
        *("settle as done", acts.lost_after, acts.settle("done"), acts.settle("done")),
        operation="replace",
        end="approve",
    ),
    Scenario(
        *("settle as retry", acts.lost_before, acts.settle("retry"), acts.settle("retry")),
        operation="replace",
        end="approve",
    ),
    Scenario(
        *("go on after a retry", together(acts.lost_before, acts.settle("retry")), acts.take_turn),
        operation="replace",
        end="approve",
    ),
    Scenario(
        *("settle as abandoned", acts.lost_before, acts.settle("abandon"), acts.settle("abandon")),
        operation="replace",
        end="approve",
    ),
    Scenario(
        # Whoever lived before is held by the first word, and goes on when all is over.
        "accept a restored database",
        together(acts.accept_database, acts.approved, acts.restore),
        *(acts.accept_database, together(acts.nothing_ran, acts.accept_database)),
        operation="replace",
        end="approve",
        until_repeated=AFTER_THE_REPETITION | {"nothing_is_owed", "runs_are_at_rest"},
    ),
    Scenario("make an account", acts.ask, acts.create_approver, acts.create_approver, channels=()),
    Scenario("sign on", acts.ask, acts.sign_on, acts.sign_on, channels=()),
    Scenario("make a token", acts.ask, acts.create_token, acts.create_token, channels=()),
    Scenario(
        "revoke a token",
        together(acts.ask, acts.create_token),
        acts.revoke_token,
        acts.revoke_token,
        channels=(),
    ),
    Scenario(
        # The first time, it does more than any other time.
        "roll up the metrics",
        together(acts.ask, acts.vote, acts.roll_up, acts.ask_more, acts.vote),
        acts.roll_up,
        end="approve",
        channels=(),
    ),
    Scenario(
        "purge what is old",
        together(acts.approved, acts.recover),
        acts.purge,
        acts.purge,
        end="approve",
    ),
)

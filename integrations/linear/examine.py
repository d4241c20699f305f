"""Whether Linear is set up as the configuration says: what `check_integrations` shows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from django.conf import settings

from approvals import actors
from approvals.core.events import ChannelError
from approvals.core.lifecycle import Via
from integrations.linear.client import LinearRefused, linear
from integrations.linear.config import linear_config
from integrations.linear.directory import directory
from integrations.linear.issue import Webhook

WEBHOOK_PATH = "/resume"
WEBHOOK_EVENTS = {"Issue", "Comment", "Reaction"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; the sentence says what to do where it is not `ok`."""

    ok: bool
    sentence: str


def examine_linear() -> Iterator[Finding]:
    """Look at the key, the names and the webhook; asks Linear a few times, changes nothing."""
    if not settings.LINEAR_API_KEY:
        yield Finding(ok=True, sentence="Linear is off: LINEAR_API_KEY is not set.")
        return
    try:
        viewer = linear().viewer()
    except ChannelError as error:
        yield Finding(ok=False, sentence=str(error))
        return
    yield Finding(ok=True, sentence=f"The gateway acts in Linear as {viewer.name}.")
    if actors.linear_actor(viewer.id, viewer.name, Via.LINEAR_MOVE).user_id is not None:
        yield Finding(
            ok=False,
            sentence=f"{viewer.name} is linked to an approver here, but cannot decide in Linear:"
            " what the owner of LINEAR_API_KEY does counts as the gateway's own doing."
            " Give the gateway a Linear user of its own.",
        )
    yield from _names()
    yield from _webhook()


def _names() -> Iterator[Finding]:
    config, known = linear_config(), directory()
    labels = config.approval_template.labels
    looks: list[tuple[str, Callable[[], object]]] = [
        (f"team {config.team}", partial(known.team_id, config.team)),
        (f"labels {', '.join(labels)}", partial(known.label_ids, config.team, labels)),
        *(
            (f"state {state}", partial(known.state_id, config.team, state))
            for state in sorted({name for _, name in config.outcome_states})
        ),
    ]
    if config.project is not None:
        looks.append((f"project {config.project}", partial(known.project_id, config.project)))
    known.forget()
    for what, look in looks:
        try:
            look()
        except ChannelError as error:
            yield Finding(ok=False, sentence=str(error))
        else:
            yield Finding(ok=True, sentence=f"Linear knows the {what}.")


def _webhook() -> Iterator[Finding]:
    """Look at the webhook, if Linear shows it to this key; it is better not to."""
    address = f"{settings.PUBLIC_URL}{WEBHOOK_PATH}"
    kinds = ", ".join(sorted(WEBHOOK_EVENTS))
    try:
        hooks = linear().webhooks()
    except ChannelError as error:
        if isinstance(error, LinearRefused) and error.for_administrators:
            yield Finding(
                ok=True,
                sentence="The webhook was not looked at: Linear shows it to administrators alone,"
                " and this key is not one's, as it should be. So an administrator has to see in"
                f" Linear that it is on, leads to {address} and sends: {kinds}.",
            )
        else:
            yield Finding(ok=False, sentence=f"The webhooks could not be listed. {error}")
        return
    yield _judged(hooks, address)
    yield Finding(
        ok=True,
        sentence="This key also reads the webhook's secret, and whoever has that votes in"
        " the name of every linked approver: give the gateway a key of a user who is no"
        " administrator, although this command cannot look at the webhook with it.",
    )


def _judged(hooks: Sequence[Webhook], address: str) -> Finding:
    """Whether one of the webhooks tells the gateway all that it listens to."""
    ours = [
        hook for hook in hooks if hook.url in {address, f"{settings.PUBLIC_URL}/webhooks/linear"}
    ]
    if not ours:
        return Finding(ok=False, sentence=f"Linear has no webhook to {address}: create it there.")
    if not any(hook.enabled for hook in ours):
        return Finding(ok=False, sentence=f"The webhook to {address} is switched off in Linear.")
    missing = WEBHOOK_EVENTS - {kind for hook in ours if hook.enabled for kind in hook.events}
    if missing:
        kinds = ", ".join(sorted(missing))
        return Finding(ok=False, sentence=f"The webhook to {address} does not send: {kinds}.")
    return Finding(ok=True, sentence=f"Linear sends its webhook to {address}.")

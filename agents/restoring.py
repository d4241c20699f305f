"""The verb after a restore: what could act is held until a person has looked, run by run."""

from uuid import UUID

from django.db import transaction

from agents.executions import mark
from agents.models import ENDED, UNSETTLED, Execution, ExecutionStatus, Run
from agents.standing import locked, need_attention
from approvals import services
from approvals.actors import able
from approvals.core.lifecycle import Actor
from approvals.core.roles import Ability
from approvals.errors import NotAllowed
from approvals.inputs import must_be_words


def accept_database(*, actor: Actor, reason: str, nothing_lost: bool = False) -> int:
    """Let workers work on a database that was restored, and hold every run that has not ended.

    Each held run needs attention, and goes on by `settle_run` alone. With `nothing_lost`, an
    operator's word that nothing was decided or done after the copy was taken, none is held.
    Returns how many were. May be repeated where it was interrupted. Raises NotAllowed and
    InvalidInput.
    """
    must_be_words("reason", reason, required=True)
    if not able(actor, Ability.SETTLE_RUN):
        raise NotAllowed("Only an operator may accept a database.")
    sentence = (
        "This database was restored from a backup, and what was decided or done after the backup"
        " is not known here. Look where the run would act whether it has happened since, then"
        f" settle the run. {actor.name} accepted the database: {reason}"
    )
    held = 0
    if not nothing_lost:
        going = Run.objects.exclude(status__in=ENDED).order_by("created_at")
        # What an interrupted command has held already is counted, and left as it is.
        held = going.filter(attention__startswith=sentence).count()
        others = going.exclude(attention__startswith=sentence)
        for run_id in list(others.values_list("pk", flat=True)):
            held += _hold(run_id, sentence)
    # Last: until then nothing is claimed, and an interrupted command has let nothing go on.
    data = {"reason": reason, "held": held, "nothing_lost": nothing_lost}
    services.accept_database(actor=actor, data=data)
    return held


def _hold(run_id: UUID, sentence: str) -> int:
    """Stop a run, and take back every word by which it could go on; how many were stopped."""
    with transaction.atomic():
        run = locked(run_id)
        if run.status in ENDED:
            return 0
        if run.attention.startswith(sentence):
            return 1
        # What was at work, or was not begun yet, may have been carried out since.
        unsettled = Execution.objects.select_for_update().filter(run=run, status__in=UNSETTLED)
        for row in unsettled:
            told = f"{sentence} In the backup: {row.summary}" if row.summary else sentence
            mark(row, ExecutionStatus.UNKNOWN, told, claim_token=None)
        Run.objects.filter(pk=run.pk).update(may_continue=False)
        told = f"{sentence} In the backup: {run.attention}" if run.attention else sentence
        need_attention(run.pk, told)
    return 1

"""The channel that lets a paused run go on."""

from collections.abc import Sequence

from approvals.core.events import WORKFLOW, Event, Receipt, Snapshot


class WorkflowChannel:
    """Resumes the run behind a decided request; once it has, a repeat changes nothing."""

    name = WORKFLOW

    def wants(self, request: Snapshot) -> bool:
        """Whether the request was captured from a thread of ours."""
        return bool(request.interrupt_id)

    def converge(self, request: Snapshot, since: Sequence[Event]) -> Receipt:
        """Hand the verdict to the run; ChannelBusy while another worker moves its thread."""
        # Imported by the first resume: every process has this channel, and langgraph loads slowly.
        from agents.turns import resume_run  # noqa: PLC0415

        del since  # the verdict is always read from the request as it is now
        resume_run(request)
        return Receipt(reference=request.workflow_id)

"""A worker that is killed in the middle of three actions."""

from dataclasses import dataclass

from tests.e2e.gateway import Gateway, Run


@dataclass(frozen=True)
class Crashed:
    """Runs whose worker was killed in the middle of their action; it works again."""

    repeatable: Run
    done_by_hand: Run
    to_be_retried: Run

    @property
    def all(self) -> tuple[Run, ...]:
        """Each of them."""
        return self.repeatable, self.done_by_hand, self.to_be_retried


def crash(gateway: Gateway) -> Crashed:
    """Have three approved actions begun, kill their worker, and start it again."""
    stack = gateway.stack
    crashed = Crashed(gateway.ask("repair"), gateway.ask("replace"), gateway.ask("replace"))
    gates = [stack.close_gate(run.label) for run in crashed.all]
    requests = [run.request() for run in crashed.all]
    for request_id in requests:
        assert gateway.approve(request_id).status_code == 200
    for run in crashed.all:
        run.wait_for_effects(1)
    stack.kill("worker")
    for gate in gates:
        gate.remove()
    stack.start_part("worker")
    return crashed

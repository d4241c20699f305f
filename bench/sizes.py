"""The two gateways that pages are compared on: one with many requests, and one with a thousand."""

from datetime import timedelta

from bench.filling import TWO_YEARS, fill
from bench.stack import Gateway, Stack

FEW = 1_000
# Enough that a page of the queue is full on both sides, so that only the rest differs.
FEW_PENDING = 100
MANY_PENDING = 10_000
# Young enough that a search finds a page full there, too.
FEW_SPAN = timedelta(days=60)


def large(stack: Stack) -> Gateway:
    """A gateway with as many requests as the stack's scale says."""
    return _filled(stack, "large", stack.scale, min(MANY_PENDING, stack.scale // 10), TWO_YEARS)


def small(stack: Stack) -> Gateway:
    """A gateway with a thousand requests."""
    return _filled(stack, "small", FEW, FEW_PENDING, FEW_SPAN)


def _filled(stack: Stack, name: str, number: int, pending: int, span: timedelta) -> Gateway:
    """The gateway of that name, filled where no measure has needed it before."""
    if name not in stack.shared:
        gateway = stack.new_gateway(name)
        with gateway.current():
            fill(gateway.superuser_url, number, pending=pending, span=span)
        stack.shared[name] = gateway
    return stack.shared[name]

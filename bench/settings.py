"""The product's settings for the benchmark: nothing leaves this machine, and nothing is done.

Linear is told of every request, as in production, but no worker serves it. Without an API key the
web server asks Linear for nobody's identity, which it does once a process otherwise.
"""

from hitl_project.settings import *  # noqa: F403

HITL_CHANNELS = [
    "integrations.workflow.WorkflowChannel",
    "integrations.linear.channel.LinearChannel",
]
HITL_EXECUTORS = {"command": "bench.operation.do_nothing"}

"""The three ways to carry out a frozen action, named by dotted path in HITL_EXECUTORS."""

from integrations.executors.command import run_command
from integrations.executors.github_workflow import dispatch_github_workflow
from integrations.executors.http_call import call_http

__all__ = ["call_http", "dispatch_github_workflow", "run_command"]

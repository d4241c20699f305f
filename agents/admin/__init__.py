"""Runs and their executions in the Django admin."""

from agents.admin import executions, runs

__all__ = ["executions", "runs"]

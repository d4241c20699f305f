"""The Django application."""

from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    """Names the application."""

    name = "approvals"

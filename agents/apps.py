"""The Django application."""

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    """Names the application."""

    name = "agents"

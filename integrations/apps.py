"""The Django application."""

from django.apps import AppConfig


class IntegrationsConfig(AppConfig):
    """Names the application."""

    name = "integrations"

"""The Django application."""

from django.apps import AppConfig

from integrations.linear.config import linear_config


class IntegrationsConfig(AppConfig):
    """Stops the start where the configuration of an integration does not fit."""

    name = "integrations"

    def ready(self) -> None:
        """Read what is read once, so that a fault shows now and not at the first webhook."""
        linear_config()

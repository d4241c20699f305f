"""The Django application."""

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured

from approvals.configfile import ConfigError
from integrations.linear.config import linear_config


class IntegrationsConfig(AppConfig):
    """Stops the start where the configuration of an integration does not fit."""

    name = "integrations"

    def ready(self) -> None:
        """Read what is read once, so that a fault shows now and not at the first webhook."""
        try:
            linear_config()
        except ConfigError as error:
            raise ImproperlyConfigured(str(error)) from error

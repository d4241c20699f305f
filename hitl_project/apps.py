"""The Django application of the composition root."""

import logging

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate


class ProjectConfig(AppConfig):
    """Grants the application's role what it needs after each migration; sends spans, if asked."""

    name = "hitl_project"

    def ready(self) -> None:
        """Connect the grants to an application with tables: post_migrate passes over others."""
        from hitl_project.grants import grant  # noqa: PLC0415 - needs the loaded settings
        from hitl_project.tracing import start  # noqa: PLC0415

        # So that Python's warnings look like every other line.
        logging.captureWarnings(True)
        start()
        post_migrate.connect(grant, sender=apps.get_app_config("approvals"))

"""The Django application of the composition root."""

import logging

from django.apps import AppConfig, apps
from django.contrib import admin
from django.contrib.auth.signals import user_logged_in
from django.db.models.signals import post_migrate


class ProjectConfig(AppConfig):
    """Connects what the other applications cannot know of: grants, traces, and how a login ends."""

    name = "hitl_project"

    def ready(self) -> None:
        """Connect the grants to an application with tables, as post_migrate passes over others."""
        from hitl_project import sessions  # noqa: PLC0415 - needs the loaded applications
        from hitl_project.grants import grant  # noqa: PLC0415 - needs the loaded settings
        from hitl_project.logins import AdminLoginForm  # noqa: PLC0415
        from hitl_project.tracing import start  # noqa: PLC0415

        # So that Python's warnings look like every other line.
        logging.captureWarnings(True)
        start()
        user_logged_in.connect(sessions.begin)
        admin.site.login_form = AdminLoginForm
        post_migrate.connect(grant, sender=apps.get_app_config("approvals"))

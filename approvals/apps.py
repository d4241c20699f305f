"""The Django application; a rules or policies file that does not fit stops the start."""

from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    """Reads the configuration once, before anything runs."""

    name = "approvals"

    def ready(self) -> None:
        """Refuse to start with a configuration that does not fit."""
        from approvals import policy  # noqa: PLC0415 - needs the loaded settings

        policy.current_rules()
        policy.masked_keys()

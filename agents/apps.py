"""The Django application; a workflow or operation file that does not fit stops the start."""

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    """Reads the configuration once, before anything runs."""

    name = "agents"

    def ready(self) -> None:
        """Refuse to start with a configuration that does not fit; show what runs come to."""
        from agents.metrics import RunCollector  # noqa: PLC0415 - names the tables
        from agents.operations import load_operations  # noqa: PLC0415 - needs the loaded settings
        from agents.roster import AGENTS  # noqa: PLC0415
        from agents.templates import workflow_templates  # noqa: PLC0415
        from approvals.metrics import TABLES, know_agents  # noqa: PLC0415

        load_operations()
        workflow_templates()
        know_agents(AGENTS)
        TABLES.register(RunCollector())

"""The Django application; a workflow or operation file that does not fit stops the start."""

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import pre_migrate


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
        pre_migrate.connect(_upgrade_checkpoints, sender=self)


def _upgrade_checkpoints(using: str, **_: Any) -> None:
    """Bring LangGraph's own tables, once they are there, up to the installed library.

    Before the migrations, because what follows these grants the application its rights.
    """
    database = connections[using]
    if "checkpoint_migrations" in database.introspection.table_names():
        from agents import checkpoints  # noqa: PLC0415 - langgraph is slow to load

        checkpoints.create_tables(checkpoints.address(database))

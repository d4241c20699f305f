"""`manage.py load_demo`: people and workflows to look at."""

from typing import Any

from django.core.management.base import BaseCommand

from hitl_project.demo import load_demo


class Command(BaseCommand):
    """Loads the demo once; later calls only repeat what to try."""

    help = "Create the demo's people, start its workflows once, and print what to try."

    def handle(self, *_: Any, **__: Any) -> None:
        """Print the addresses and what to try."""
        self.stdout.write(load_demo())

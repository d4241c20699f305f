"""`manage.py web`: serve the pages, the API and the webhook."""

import os
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand

from hitl_project import grants


class Command(BaseCommand):
    """Serves HTTP until SIGTERM, then gives open requests a few seconds to end."""

    help = "Serve the pages, the API and the webhook."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare where to listen and how many processes answer."""
        parser.add_argument("--host", default="127.0.0.1", help="default 127.0.0.1")
        port = os.environ.get("PORT") or "8000"
        parser.add_argument("--port", type=int, default=port, help="default $PORT, else 8000")
        parser.add_argument("--workers", type=int, default=1, help="processes, default 1")

    def handle(self, *, host: str, port: int, workers: int, **_: object) -> None:
        """Run uvicorn in this process, and in others where there are to be several."""
        grants.warn_of_what_is_out_of_place()
        with _counting_together(workers):
            uvicorn.run(
                "hitl_project.asgi:application",
                host=host,
                port=port,
                workers=workers,
                loop="uvloop",
                # Nobody speaks it here. Left to itself, uvicorn takes it because its library is
                # installed, and Django fails with a traceback.
                ws="none",
                lifespan="on",
                access_log=False,
                log_config=None,
                server_header=False,
                # Believed only where a proxy is known to overwrite what clients claim.
                proxy_headers=settings.SECURE_PROXY_SSL_HEADER is not None,
                forwarded_allow_ips=settings.FORWARDED_ALLOW_IPS,
                timeout_graceful_shutdown=5,
            )


@contextmanager
def _counting_together(workers: int) -> Iterator[None]:
    """A folder in which several processes add up their counts, unless the environment names one.

    Otherwise each scrape would tell what one of them has counted, and counters would go back.
    """
    if workers == 1 or "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="hitl-web-metrics-") as folder:
        # Read by prometheus_client when the processes, which inherit it, import it.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield

"""Loads the libraries of the gateway, then forks for each order that comes.

Run with a socket as standard input, by `tests.warm`. Nothing of ours is loaded, since what that
does depends on the environment that an order brings.
"""

import gc
import json
import os
import runpy
import signal
import socket
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from hitl_project.parent_death import die_with_parent
from tests.warm import LONGEST_ORDER

# Those that take long. None of them reads Django's settings or starts a thread when it is loaded.
LIBRARIES = (
    *("asgiref.sync", "authlib.integrations.requests_client", "axes", "csp", "httpx"),
    *("celery.apps.beat", "celery.apps.worker", "celery.bin.beat", "celery.bin.worker"),
    *("celery.concurrency.prefork", "celery.worker.components", "kombu.transport.redis", "redis"),
    *("csp.middleware", "django.contrib.auth.hashers", "django.contrib.messages.middleware"),
    *("django.contrib.postgres.forms", "django.contrib.postgres.search"),
    *("django.contrib.sessions.middleware", "django.core.management.commands.migrate"),
    *("django.core.serializers.json", "django.db.backends.postgresql.base", "django.db.models"),
    *("django.forms", "django.middleware.cache", "django.middleware.security"),
    *("django.test.client", "django.urls", "django.views.i18n"),
    *("django_htmx.middleware", "django_prometheus", "httpcore"),
    *("langgraph.checkpoint.postgres", "langgraph.graph", "langgraph.types", "markdown_it"),
    *("psycopg", "psycopg_pool", "pydantic.networks", "pygal", "pythonjsonlogger", "yaml"),
    *("uvicorn.lifespan.on", "uvicorn.main", "uvicorn.protocols.http.httptools_impl", "uvloop"),
    "whitenoise.middleware",
    # The sandbox's own.
    *("graphql", "jinja2", "sqlite3", "starlette.applications", "starlette.formparsers"),
    "starlette.staticfiles",
)


def main() -> None:
    """Serve orders until there is nobody to give any; carry one out in each child."""
    orders = socket.socket(fileno=os.dup(0))
    for name in LIBRARIES:
        import_module(name)
    # What was loaded stays, so a child need not look at all of it, which would copy it.
    gc.collect()
    gc.freeze()
    nursery = os.getpid()
    order, files = _next_order(orders)
    # From here on, a child.
    die_with_parent(signal.SIGKILL, nursery)
    orders.close()
    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(order["environment"])
    _become(order["arguments"])


def _next_order(orders: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Answer whoever gives orders; returns in a child alone, with what it was forked for."""
    while True:
        message, files, _, _ = socket.recv_fds(orders, LONGEST_ORDER, 3)
        if not message:
            sys.exit()
        order = json.loads(message)
        if "ended" in order:
            answer = os.waitstatus_to_exitcode(os.waitpid(order["ended"], 0)[1])
        elif answer := os.fork():
            for file in files:
                os.close(file)
        else:
            return order, files
        orders.send(str(answer).encode())


def _become(arguments: list[str]) -> None:
    """Run a program as `python ARGUMENT...` would."""
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path[0] = str(Path(arguments[0]).parent)
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main()

"""A worker that ends by itself says so to whoever started it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

from hitl_project.embedded import OWNER, Postgres, RedisServer

ROOT = Path(__file__).resolve().parents[2]
FAILING = """
import django
django.setup()
from celery.worker.consumer import Consumer
from django.core.management import call_command
def fails(consumer):
    raise RuntimeError("Nobody foresaw this.")
Consumer.start = fails
call_command("worker", queues="runs", concurrency=1)
"""


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_cannot_go_on_exits_as_failed(
    postgres_server: Postgres, redis_server: RedisServer
) -> None:
    ended = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", FAILING],
        cwd=ROOT,
        env={
            **os.environ,
            "DATABASE_URL": postgres_server.url(OWNER, str(connection.settings_dict["NAME"])),
            "REDIS_URL": redis_server.url,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Nobody foresaw this." in ended.stderr + ended.stdout
    assert ended.returncode == 1

"""The PostgreSQL and Redis of the whole test session; importing this module starts them.

Django reads its settings once and early, so the servers must run before pytest-django looks.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import psycopg

from hitl_project.embedded import OWNER, SUPERUSER, start_postgres, start_redis

# What the person at the keyboard exported must not leak into what the tests prove.
_OURS = ("HITL_", "LINEAR_", "GITHUB_API_", "DATABASE_", "REDIS_", "OTEL_")
_KEPT = ("HITL_CONTRACTS_DIR",)

DATA_DIR = Path(tempfile.mkdtemp(prefix="hitl-tests-"))
atexit.register(shutil.rmtree, DATA_DIR, ignore_errors=True)
postgres = start_postgres(DATA_DIR, durable=False)
atexit.register(postgres.stop)
redis = start_redis(DATA_DIR)
atexit.register(redis.stop)

# The role that makes the test databases owns them too, as in a deployment. Tests that need what a
# guard forbids pass by it, for which a trigger that is switched off would hold up everybody.
with psycopg.connect(postgres.url(SUPERUSER, "postgres"), autocommit=True) as _connection:
    _connection.execute(f"ALTER ROLE {OWNER} CREATEDB")
    _connection.execute(f"GRANT SET ON PARAMETER session_replication_role TO {OWNER}")

for _name in [name for name in os.environ if name.startswith(_OURS) and name not in _KEPT]:
    del os.environ[_name]
for _name in ("GITHUB_TOKEN", "ALLOWED_HOSTS", "PORT"):
    os.environ.pop(_name, None)
os.environ.update(
    DJANGO_SETTINGS_MODULE="tests.settings",
    SECRET_KEY="tests-" + "0123456789abcdef" * 4,
    DATABASE_URL=postgres.owner_url,
    REDIS_URL=redis.url,
    HITL_DATA_DIR=str(DATA_DIR),
    HITL_LOG_FORMAT="text",
    # The sandbox is there.
    HITL_PRIVATE_NETWORKS="127.0.0.1/32",
)

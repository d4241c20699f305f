"""The PostgreSQL and Redis that `make run` and the tests start, as children of the caller.

The servers run in the foreground and end with the thread that started them, so start them from
one that lives long. Started as root they run as the owner of their folder, at first `nobody`.
"""

from hitl_project.embedded.folder import EmbeddedServerError
from hitl_project.embedded.postgres import APP, DATABASE, OWNER, SUPERUSER, Postgres, start_postgres
from hitl_project.embedded.redis import RedisServer, start_redis

__all__ = [
    "APP",
    "DATABASE",
    "OWNER",
    "SUPERUSER",
    "EmbeddedServerError",
    "Postgres",
    "RedisServer",
    "start_postgres",
    "start_redis",
]

"""What tests see of a web server that runs as a process of its own."""

from typing import Any

from django.db import connection

from tests.approvals.http.gateway import People, body
from tests.web_server import WebServer


def opened(server: WebServer, people: People, **changes: Any) -> str:
    """The id of a request opened over HTTP."""
    answer = server.call(people.agent, "POST", "/approvals", body(**changes))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["request_id"])


def connections(name: str = "%") -> list[str]:
    """The states of the connections to the test database of applications with such a name."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT state FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND application_name LIKE %s",
            [name],
        )
        return [state for (state,) in cursor.fetchall()]


def polling() -> bool:
    """Whether some server follows the changes."""
    return bool(connections("hitl-live"))

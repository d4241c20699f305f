"""A list that takes too long is given up with a sentence in its place, never with an error page."""

import pytest
from django.db import OperationalError, connection

from approvals import patience
from approvals.errors import InvalidInput
from tests.approvals.pages import HTMX, read, signed_in
from tests.approvals.scenes import manager, opened
from tests.approvals.slowly import slow

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little patience."""
    monkeypatch.setattr(patience, "PATIENCE_MS", 100)


@pytest.mark.parametrize("headers", [{}, HTMX])
@pytest.mark.parametrize("address", ["/?text=deploy", "/history/?text=deploy"])
def test_pages_say_that_they_gave_up(address: str, headers: dict[str, str]) -> None:
    opened()
    desk = signed_in(manager("maria"))
    with slow():
        answer = desk.get(address, headers=headers)
    assert answer.status_code == 422
    text = read(answer).text
    assert "more than 0.1 seconds, so it was given up" in text
    assert "Clear" in text


def test_the_bound_is_gone_afterwards() -> None:
    with connection.cursor() as cursor:
        with pytest.raises(InvalidInput), patience.patiently():
            cursor.execute("SELECT pg_sleep(0.3)")
        cursor.execute("SELECT pg_sleep(0.3), current_setting('statement_timeout')")
        assert cursor.fetchone()[1] == "0"


def test_another_fault_of_the_database_is_none_of_patience() -> None:
    with pytest.raises(OperationalError), patience.patiently():
        raise OperationalError("gone")

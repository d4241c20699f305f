"""The admin's lists: what they cost, and which actions they offer."""

import psycopg
import pytest
from django.db import OperationalError, connection
from django.test import Client

from approvals import patience, services
from approvals.admin import lists
from approvals.core.lifecycle import Choice
from tests.approvals.admin_rows import ADMIN, webhook
from tests.approvals.pages import cost, read, signed_in
from tests.approvals.scenes import DELETE, manager, opened, person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]


def filled(*numbers: int) -> None:
    """One of everything that the admin lists for each number."""
    for number in numbers:
        request_id = opened(
            DELETE, requested_by=f"asker {number}", pr_number=number + 1, github_repo="a/b"
        )
        services.cast_vote(request_id, actor=manager(f"m{number}"), choice=Choice.APPROVE)
        webhook(number, request_id)
        services.create_token(f"m{number}", scope="decide")
        services.create_approver(
            f"a{number}", email=f"a{number}@example.com", groups=["platform"], linear_user_id=""
        )


def test_a_list_costs_the_same_queries_at_1_and_at_30_rows() -> None:
    costs = {
        "approvals/approvalrequest": 10,
        "approvals/delivery": 8,
        "approvals/auditentry": 8,
        "approvals/vote": 8,
        "approvals/inboundwebhook": 8,
        "approvals/apitoken": 8,
        "approvals/approverprofile": 7,
        "auth/user": 7,
    }
    client = signed_in(person("root", "operators"), superuser=True)
    filled(0)
    assert {model: cost(client, f"/admin/{model}/") for model in costs} == costs
    filled(*range(1, 30))
    assert {model: cost(client, f"/admin/{model}/") for model in costs} == costs


def test_a_long_table_is_not_counted_to_its_end(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "MOST_COUNTED", 3)
    for number in range(5):
        webhook(number)
    page = read(operator.get(f"{ADMIN}/inboundwebhook/"))
    assert "The first 3 inbound webhooks; filter or search to see others" in page.text
    assert "1 inbound webhook" in read(operator.get(f"{ADMIN}/inboundwebhook/?q=d-1")).text


def test_a_list_that_takes_too_long_is_given_up_with_a_sentence(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(self: object, term: str) -> None:
        del self, term
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(20)")

    monkeypatch.setattr(patience, "PATIENCE_MS", 50)
    monkeypatch.setattr("approvals.admin.records.InboundWebhookAdmin.meant", endless)
    answer = operator.get(f"{ADMIN}/inboundwebhook/?q=anything")
    assert answer.status_code == 503
    assert "Choose a shorter time or one more filter" in read(answer).text


def test_what_is_no_impatience_is_an_error(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object, term: str) -> None:
        raise OperationalError from psycopg.OperationalError("gone")

    monkeypatch.setattr("approvals.admin.records.InboundWebhookAdmin.meant", broken)
    with pytest.raises(OperationalError):
        operator.get(f"{ADMIN}/inboundwebhook/?q=anything")


def test_actions_that_one_may_not_take_are_not_offered(operator: Client) -> None:
    filled(0)
    reader = signed_in(person("vera"), staff=True)
    assert "Try the chosen deliveries again now" in read(operator.get(f"{ADMIN}/delivery/")).text
    assert "again now" not in read(reader.get(f"{ADMIN}/delivery/")).text
    page = read(reader.get(f"{ADMIN}/approvalrequest/")).text
    assert "Approve the chosen requests" not in page
    assert "Approve the chosen requests" not in read(operator.get(f"{ADMIN}/approvalrequest/")).text
    decider = signed_in(manager("m0"), staff=True)
    assert "Approve the chosen requests" in read(decider.get(f"{ADMIN}/approvalrequest/")).text

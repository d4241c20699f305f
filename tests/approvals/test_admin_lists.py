"""The admin's lists: what they find, what they cost, and that nothing in them is edited."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest
from django.db import OperationalError, connection
from django.test import Client

from approvals import outbox, services
from approvals.admin import lists
from approvals.core.lifecycle import Choice
from approvals.models import (
    ApiToken,
    ApprovalRequest,
    ApproverProfile,
    AuditEntry,
    Delivery,
    InboundWebhook,
    Vote,
)
from approvals.services.people import account_stream
from tests.approvals.pages import cost, read, signed_in
from tests.approvals.scenes import (
    DELETE,
    DEPLOY,
    MIGRATE,
    delivery,
    manager,
    opened,
    person,
    unguarded,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]

ADMIN = "/admin/approvals"


@pytest.fixture
def operator() -> Client:
    """A browser of an operator."""
    return signed_in(person("olga", "operators"), staff=True)


def webhook(number: int, request_id: UUID | None = None, **facts: str) -> InboundWebhook:
    """A verified message of that number."""
    given = {"source": "linear", "delivery_id": f"d-{number}", "body_digest": str(number), **facts}
    return InboundWebhook.objects.create(request_id=request_id, **given)


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


def ids(client: Client, model: str, **query: str) -> set[str]:
    """The ids of the rows that the list shows."""
    answer = client.get(f"{ADMIN}/{model}/", query)
    assert answer.status_code == 200
    return {str(row.pk) for row in answer.context["cl"].result_list}


@pytest.fixture
def two() -> tuple[UUID, UUID]:
    """A request with every identifier, and one with others."""
    ada = person("ada")
    one = opened(
        DEPLOY,
        workflow_id="wf-a",
        thread_id="th-a",
        requested_by="ines",
        actor=ada,
        pr_number=231,
        pr_url="https://github.com/acme/shop/pull/231",
        github_repo="acme/shop",
    )
    other = opened(MIGRATE, workflow_id="wf-b", thread_id="th-b", pr_number=7, github_repo="a/b")
    for request_id, issue in ((one, "CHEF-271"), (other, "CHEF-9")):
        ApprovalRequest.objects.filter(pk=request_id).update(linear_issue_id=issue)
        services.cast_vote(request_id, actor=manager("otto"), choice=Choice.APPROVE)
    webhook(1, one)
    webhook(2, other)
    return one, other


TERMS: list[Callable[[UUID], str]] = [
    str,
    lambda one: one.hex,
    lambda _: "CHEF-271",
    lambda _: " chef-271 ",
    lambda _: "wf-a",
    lambda _: "th-a",
    lambda _: "ines",
    lambda _: "Ada",
    lambda _: "ada@example.com",
    lambda _: "231",
    lambda _: "#231",
    lambda _: "acme/shop#231",
    lambda _: "https://github.com/acme/shop/pull/231",
]


@pytest.mark.parametrize("term", TERMS)
def test_a_request_and_what_belongs_to_it_is_found_by_each_identifier(
    operator: Client, two: tuple[UUID, UUID], term: Callable[[UUID], str]
) -> None:
    one, _ = two
    words = term(one)
    assert ids(operator, "approvalrequest", q=words) == {str(one)}
    of_one = {str(pk) for pk in Delivery.objects.filter(request=one).values_list("pk", flat=True)}
    assert of_one <= ids(operator, "delivery", q=words)
    assert ids(operator, "inboundwebhook", q=words) == {
        str(InboundWebhook.objects.get(request=one).pk)
    }
    assert ids(operator, "vote", q=words) == {str(Vote.objects.get(request=one).pk)}
    entries = AuditEntry.objects.filter(stream=one)
    assert {str(entry.pk) for entry in entries} <= ids(operator, "auditentry", q=words)


@pytest.mark.parametrize("model", ["approvalrequest", "delivery", "inboundwebhook", "auditentry"])
@pytest.mark.parametrize("term", ["x" * 600, "%", "' OR 1", "99999999999", "#", "²"])
def test_what_names_nothing_finds_nothing(
    operator: Client, two: tuple[UUID, UUID], model: str, term: str
) -> None:
    del two
    assert ids(operator, model, q=term) == set()


def test_deliveries_webhooks_votes_and_entries_have_identifiers_of_their_own(
    operator: Client, two: tuple[UUID, UUID]
) -> None:
    one, _ = two
    linear = delivery(one, "linear").pk
    assert str(linear) in ids(operator, "delivery", q=str(linear))
    assert ids(operator, "inboundwebhook", q="d-2") == {
        str(InboundWebhook.objects.get(delivery_id="d-2").pk)
    }
    assert len(ids(operator, "vote", q="otto")) == 2
    services.create_token("otto", scope="decide")
    of_otto = AuditEntry.objects.filter(stream=account_stream(person("otto").user_id or 0))
    found = ids(operator, "auditentry", q="otto")
    assert {str(entry.pk) for entry in of_otto} <= found
    # What he did elsewhere, too.
    assert str(AuditEntry.objects.get(stream=one, name="vote.cast").pk) in found


def test_an_id_of_nobodys_stream_finds_its_entries(operator: Client) -> None:
    outcome = services.open_request(
        task={"operation": "update_docs", "environment": "dev"},
        workflow_id="w",
        thread_id="t",
        agent_name="docs",
    )
    assert outcome.request_id is None
    entry = AuditEntry.objects.get(name="request.not_required")
    assert ids(operator, "auditentry", q=str(entry.stream)) == {str(entry.pk)}


def test_tokens_and_profiles_are_found_by_what_people_know_of_them(operator: Client) -> None:
    services.create_approver(
        "ada", email="ada@example.com", groups=["platform"], linear_user_id="u-1"
    )
    services.create_approver("otto", email="o@example.com", groups=[], linear_user_id="u-2")
    token = services.create_token("ada", scope="decide", label="night jobs")
    services.create_token("otto", scope="request")
    mine = str(ApiToken.objects.get(user__username="ada").pk)
    for term in (token[:12], token, "ada", "night"):
        assert ids(operator, "apitoken", q=term) == {mine}
    profile = str(ApproverProfile.objects.get(user__username="ada").pk)
    for term in ("ada", "ada@example.com", "u-1"):
        assert ids(operator, "approverprofile", q=term) == {profile}
    html = operator.get(f"{ADMIN}/apitoken/").content.decode()
    assert token not in html
    assert ApiToken.objects.get(pk=mine).digest not in html


def test_requests_are_filtered_by_what_they_are_and_how_much_time_is_left(
    operator: Client, two: tuple[UUID, UUID]
) -> None:
    one, other = two
    third = opened(DELETE, agent_name="cleaner")
    assert ids(operator, "approvalrequest", status__exact="pending") == {str(third)}
    assert ids(operator, "approvalrequest", risk_level__exact="low") == set()
    assert ids(operator, "approvalrequest", agent_name="cleaner") == {str(third)}
    assert ids(operator, "approvalrequest", environment="staging") == {str(other)}
    today = f"{outbox.clock():%Y-%m-%d} 00:00:00+00:00"
    assert ids(operator, "approvalrequest", created_at__gte=today) == {
        *(str(one), str(other), str(third))
    }
    assert ids(operator, "approvalrequest", left="half") == set()
    moments = {"half": timedelta(hours=-3), "none": timedelta(hours=-9)}
    for left, shift in moments.items():
        unguarded(
            "approval_requests",
            "request_is_guarded",
            "UPDATE approval_requests SET created_at = clock_timestamp() + %s,"
            " expires_at = clock_timestamp() + %s + interval '4 hours' WHERE id = %s",
            [shift, shift, third],
        )
        assert ids(operator, "approvalrequest", left=left) == {str(third)}


def test_what_was_told_and_heard_is_filtered_by_channel_risk_source_and_outcome(
    operator: Client, two: tuple[UUID, UUID]
) -> None:
    one, other = two
    InboundWebhook.objects.filter(request=one).update(outcome="refused")
    InboundWebhook.objects.filter(request=other).update(outcome="resumed", source="linear_history")
    refused = {str(InboundWebhook.objects.get(request=one).pk)}
    assert ids(operator, "inboundwebhook", outcome="refused") == refused
    assert ids(operator, "inboundwebhook", source="linear") == refused
    assert ids(operator, "delivery", channel="linear", request__risk_level="critical") == {
        str(delivery(one, "linear").pk)
    }
    assert ids(operator, "auditentry", name="vote.cast", via="web") == {
        str(entry.pk) for entry in AuditEntry.objects.filter(name="vote.cast")
    }
    assert len(ids(operator, "vote", choice__exact="approve")) == 2


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

    monkeypatch.setattr(lists, "PATIENCE_MS", 50)
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


def test_a_webhook_is_only_read_and_says_when_its_body_is_gone() -> None:
    row = webhook(1, opened(DEPLOY), body='{"action": "update", "api_key": "hush-hush"}')
    client = signed_in(person("root", "operators"), superuser=True)
    address = f"{ADMIN}/inboundwebhook/{row.pk}/change/"
    html = client.get(address).content.decode()
    assert "update" in html
    assert "hush-hush" not in html
    assert client.post(address, {"outcome": "resumed", "body": "x"}).status_code == 403
    assert client.post(f"{ADMIN}/inboundwebhook/add/", {"source": "x"}).status_code == 403
    gone = {"action": "delete_selected", "_selected_action": str(row.pk), "post": "yes"}
    client.post(f"{ADMIN}/inboundwebhook/", gone)
    InboundWebhook.objects.update(body="")
    assert "Purged" in read(client.get(address)).text
    # Long bodies are cut where they are kept, and no JSON any more.
    InboundWebhook.objects.update(body='{"cut": "' + "y" * 9_000)
    page = read(client.get(address))
    assert page.find("details")
    assert "9,009 characters" in page.text


def test_the_page_of_a_delivery_tells_what_happened_with_its_channel_alone(
    operator: Client,
) -> None:
    request_id = opened(DEPLOY)
    actor = person("olga", "operators")
    for channel in ("linear", "chat"):
        services.retry_delivery(
            delivery(request_id, channel).pk, actor=actor, reason=f"{channel} again"
        )
    linear = delivery(request_id, "linear").pk
    page = read(operator.get(f"{ADMIN}/delivery/{linear}/change/"))
    assert "linear again" in page.text
    assert "chat again" not in page.text
    assert f"/approvals/{request_id}/" in page.links()


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


def test_the_first_page_counts_what_needs_an_operator_and_links_to_it(operator: Client) -> None:
    quiet = operator.get("/admin/")
    assert "0 deliveries given up" in read(quiet).text
    late = opened(DEPLOY)
    unguarded(
        "approval_requests",
        "request_is_guarded",
        "UPDATE approval_requests SET created_at = clock_timestamp() - interval '3 hours',"
        " expires_at = clock_timestamp() + interval '1 hour' WHERE id = %s",
        [late],
    )
    Delivery.objects.filter(channel="linear").update(gave_up_at=outbox.clock())
    page = read(operator.get("/admin/"))
    assert "1 delivery given up" in page.text
    assert "1 request past half of its time" in page.text
    for model, query in (("delivery", "state=stopped"), ("approvalrequest", "left=half")):
        (link,) = (link for link in page.links() if f"{model}/?" in link)
        assert link == f"{ADMIN}/{model}/?{query}"
        assert operator.get(link).context["cl"].result_count == 1
    reader = signed_in(person("vera"), staff=True)
    assert "1 request past half of its time" in read(reader.get("/admin/")).text


def test_the_first_page_counts_no_further_than_a_bound(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("approvals.admin.concerns.MOST_COUNTED", 2)
    request_ids = [opened({**DEPLOY, "description": str(number)}) for number in range(3)]
    Delivery.objects.filter(request_id__in=request_ids, channel="linear").update(
        gave_up_at=outbox.clock()
    )
    assert "2+ deliveries given up" in read(operator.get("/admin/")).text

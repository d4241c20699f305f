"""What the admin finds by an identifier, and what its filters leave of a list."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client

from approvals import services
from approvals.clock import clock
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
from tests.approvals.admin_rows import ADMIN, webhook
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
    today = f"{clock():%Y-%m-%d} 00:00:00+00:00"
    assert ids(operator, "approvalrequest", created_at__gte=today) == {
        *(str(one), str(other), str(third))
    }
    assert ids(operator, "approvalrequest", left="half") == set()
    moments = {"half": timedelta(hours=-3), "none": timedelta(hours=-9)}
    for left, shift in moments.items():
        unguarded(
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


@pytest.fixture
def long_log() -> None:
    """Twenty thousand entries, in which some kinds are rare."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO approvals_auditentry"
            " (stream, number, name, actor, actor_key, via, data, at, digest)"
            " SELECT gen_random_uuid(), 1, 'request.opened', 'agent', '', 'api', '{}',"
            " clock_timestamp(), '' FROM generate_series(1, 20000)"
        )
        cursor.execute("ANALYZE approvals_auditentry")


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ({"name": "token.revoked"}, "idx_audit_name"),
        ({"via": "command"}, "idx_audit_via"),
        ({"q": "acme/shop#231"}, "one_entry_a_number"),
    ],
)
def test_a_rare_entry_of_a_long_log_is_found_by_an_index(
    operator: Client, two: tuple[UUID, UUID], long_log: None, query: dict[str, str], index: str
) -> None:
    del two, long_log
    listed = operator.get(f"{ADMIN}/auditentry/", query).context["cl"]
    assert index in listed.queryset[:50].explain()

"""What `make bench` fills a gateway with is what the product itself would have left there."""

from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection

from agents.models import Execution, Run
from approvals.audit import broken_links
from approvals.clock import clock
from approvals.core.lifecycle import Status
from approvals.models import ApprovalRequest, AuditEntry, Delivery, RequestWords, Vote
from approvals.selectors.history import list_ended
from bench import filling, people
from hitl_project.embedded import SUPERUSER, Postgres

REQUESTS, PENDING, OVERDUE = 200, 20, 10


@pytest.mark.django_db(transaction=True)
def test_filled_requests_are_as_the_product_leaves_them(postgres_server: Postgres) -> None:
    people.create_people()
    url = postgres_server.url(SUPERUSER, str(connection.settings_dict["NAME"]))
    filling.fill(url, REQUESTS, pending=PENDING, span=timedelta(days=60))
    filling.add_waiting(url, OVERDUE, clock() - timedelta(minutes=1))

    kinds = ApprovalRequest.objects.filter(workflow_id="kind").values("pk")
    filled = ApprovalRequest.objects.exclude(pk__in=kinds)
    statuses = Counter(filled.values_list("status", flat=True))
    assert statuses[Status.PENDING] == PENDING + OVERDUE
    assert statuses[Status.APPROVED] > REQUESTS / 2
    assert sum(statuses.values()) == REQUESTS + OVERDUE
    assert list(broken_links()) == []

    # No trigger looked at what was copied, so nothing has made sure that it belongs together.
    requests, runs = ApprovalRequest.objects.values("pk"), Run.objects.values("pk")
    for model in (Vote, Delivery, RequestWords):
        assert model.objects.exists()
        assert not model.objects.exclude(request__in=requests).exists()
    assert Execution.objects.exists()
    assert not Execution.objects.exclude(run__in=runs).exists()
    assert Vote.objects.count() == AuditEntry.objects.filter(name="vote.cast").count()

    some = filled.filter(status=Status.APPROVED)[0]
    found = list_ended({"text": some.linear_issue_id}, clock())
    assert [row.pk for row in found.rows] == [some.pk]
    # The indexes that were left out meanwhile are there again.
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_indexes WHERE indexname = 'idx_request_words'")
        assert cursor.fetchone()

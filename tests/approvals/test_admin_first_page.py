"""The first page of the admin: what needs an operator, counted no further than a bound."""

import pytest
from django.test import Client

from approvals.clock import clock
from approvals.models import Delivery
from tests.approvals.admin_rows import ADMIN
from tests.approvals.pages import read, signed_in
from tests.approvals.scenes import DEPLOY, opened, person, unguarded

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]


def test_the_first_page_counts_what_needs_an_operator_and_links_to_it(operator: Client) -> None:
    quiet = operator.get("/admin/")
    assert "0 deliveries given up" in read(quiet).text
    late = opened(DEPLOY)
    unguarded(
        "UPDATE approval_requests SET created_at = clock_timestamp() - interval '3 hours',"
        " expires_at = clock_timestamp() + interval '1 hour' WHERE id = %s",
        [late],
    )
    Delivery.objects.filter(channel="linear").update(gave_up_at=clock())
    page = read(operator.get("/admin/"))
    assert "1 delivery given up" in page.text
    assert "1 request past half of its time" in page.text
    for model, query in (("delivery", "state=given_up"), ("approvalrequest", "left=half")):
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
    Delivery.objects.filter(request_id__in=request_ids, channel="linear").update(gave_up_at=clock())
    assert "2+ deliveries given up" in read(operator.get("/admin/")).text

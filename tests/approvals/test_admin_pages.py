"""The pages of webhooks and deliveries in the admin."""

import pytest
from django.test import Client

from approvals import services
from approvals.models import InboundWebhook
from tests.approvals.admin_rows import ADMIN, webhook
from tests.approvals.pages import read, signed_in
from tests.approvals.scenes import DEPLOY, delivery, opened, person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]


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

"""A reason to reject, the name that approving something critical takes, and what was typed."""

from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.test import Client

from approvals.forms import REJECTION_PRESETS
from approvals.models import Vote
from tests.approvals.pages import HTMX, Page, page_of, read, signed_in
from tests.approvals.scenes import (
    DEPLOY,
    MIGRATE,
    delivery,
    entries,
    manager,
    opened,
    person,
    reject,
    row,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]


def posted(client: Client, request_id: UUID, verb: str, **fields: str) -> tuple[int, Page]:
    """The status and the page that come of sending a form."""
    given = {f"{verb}-{name}": value for name, value in fields.items()}
    answer = client.post(f"/approvals/{request_id}/{verb}/", given, headers=HTMX)
    return answer.status_code, read(answer)


@pytest.fixture
def maria() -> Client:
    """A release manager at the desk."""
    return signed_in(manager("maria"))


@pytest.mark.parametrize("preset", REJECTION_PRESETS)
def test_a_preset_alone_is_reason_enough(maria: Client, preset: str) -> None:
    request_id = opened(DEPLOY)
    assert page_of(maria, request_id).find("input", type="radio", value=preset)
    assert posted(maria, request_id, "reject", preset=preset, words="")[0] == 200
    assert row(request_id).rejection_reason == preset


def test_words_follow_the_preset(maria: Client) -> None:
    request_id = opened(DEPLOY)
    posted(maria, request_id, "reject", preset="Wrong time", words=" Not on a Friday ")
    assert row(request_id).rejection_reason == "Wrong time: Not on a Friday"


def test_another_reason_takes_words(maria: Client) -> None:
    request_id = opened(DEPLOY)
    status, page = posted(maria, request_id, "reject", preset="", words="")
    assert (status, row(request_id).status) == (422, "pending")
    assert "Say why, or choose a reason" in page.text
    (field,) = page.find("textarea", name="reject-words")
    assert {"autofocus", "aria-invalid"} <= field.attributes.keys()


def test_a_preset_that_is_not_offered_is_refused_with_the_words_kept(maria: Client) -> None:
    request_id = opened(DEPLOY)
    status, page = posted(maria, request_id, "reject", preset="Because", words="Not on a Friday")
    assert (status, row(request_id).status) == (422, "pending")
    assert "not offered any more" in page.text
    assert "Not on a Friday" in page.text


def test_a_preset_and_words_that_are_too_long_together_are_refused(maria: Client) -> None:
    request_id = opened(DEPLOY)
    status, page = posted(maria, request_id, "reject", preset="Wrong time", words="x" * 3995)
    assert (status, row(request_id).status) == (422, "pending")
    assert page.find("input", value="Wrong time", checked="")


@pytest.mark.parametrize("typed", ["production", " Production ", "PRODUCTION"])
def test_a_critical_request_is_approved_by_its_environments_name(maria: Client, typed: str) -> None:
    request_id = opened(DEPLOY)
    assert "To approve it, type “production”" in page_of(maria, request_id).text
    assert posted(maria, request_id, "approve", typed=typed)[0] == 200
    assert row(request_id).status == "approved"


@pytest.mark.parametrize("typed", ["", "staging", "produktion", "production!"])
def test_without_that_name_a_critical_request_stays_as_it_is(maria: Client, typed: str) -> None:
    request_id = opened(DEPLOY)
    status, page = posted(maria, request_id, "approve", typed=typed, words="Looks right")
    assert (status, row(request_id).status) == (422, "pending")
    assert not Vote.objects.exists()
    assert "Type “production” to show that you mean it." in page.text
    assert "Looks right" in page.text
    (field,) = page.find("input", name="approve-typed")
    assert (field.attributes.get("value", ""), "autofocus" in field.attributes) == (typed, True)


def test_where_there_is_no_environment_the_operations_name_is_typed(maria: Client) -> None:
    request_id = opened({"operation": "delete_bucket"})
    assert posted(maria, request_id, "approve", typed="production")[0] == 422
    assert posted(maria, request_id, "approve", typed="delete_bucket")[0] == 200
    assert Vote.objects.get().choice == "approve"


def test_a_name_with_what_nobody_sees_is_typed_as_it_is_shown(maria: Client) -> None:
    request_id = opened({"operation": "deploy", "environment": "pro\u202eduction"})
    assert "type “pro\\u202eduction”" in page_of(maria, request_id).text
    assert posted(maria, request_id, "approve", typed="production")[0] == 422
    assert posted(maria, request_id, "approve", typed="pro\\u202eduction")[0] == 200


def test_nothing_is_typed_to_reject_or_for_a_milder_risk(maria: Client) -> None:
    critical, mild = opened(DEPLOY), opened(MIGRATE)
    assert not page_of(maria, mild).find("input", name="approve-typed")
    assert posted(maria, mild, "approve")[0] == 200
    assert posted(maria, critical, "reject", preset="Wrong time")[0] == 200
    assert (row(mild).status, row(critical).status) == ("approved", "rejected")


def test_a_late_form_says_who_was_first_and_keeps_all_that_was_typed(maria: Client) -> None:
    request_id = opened(DEPLOY)
    reject(request_id, manager("otto"), "No")
    status, page = posted(maria, request_id, "approve", typed="produc", words="Checked")
    assert status == 409
    assert "already rejected" in page.text
    assert "What you had written: Checked produc" in page.text
    status, page = posted(maria, request_id, "reject", preset="Wrong time", words="Friday")
    assert status == 409
    assert "What you had written: Wrong time Friday" in page.text
    # A form that is gone needs no mending, only to be told so.
    status, page = posted(maria, request_id, "reject", preset="", words="")
    assert (status, "already rejected" in page.text) == (409, True)


def test_a_vote_that_does_not_fit_and_is_not_allowed_is_recorded_all_the_same() -> None:
    request_id, client = opened(DEPLOY), signed_in(person("dora", "developers"))
    status, page = posted(client, request_id, "reject", preset="", words="")
    assert (status, "may decide this request" in page.text) == (403, True)
    assert entries(request_id) == ["request.opened", "vote.refused"]
    status, page = posted(client, request_id, "approve", typed="produc", words="Let me")
    assert (status, "What you had written: Let me produc" in page.text) == (403, True)
    assert entries(request_id) == ["request.opened", "vote.refused", "vote.refused"]
    assert not Vote.objects.exists()


def test_a_vote_that_does_not_fit_is_no_refusal_of_somebody_who_may_decide(maria: Client) -> None:
    request_id = opened(DEPLOY)
    assert posted(maria, request_id, "approve", typed="")[0] == 422
    assert entries(request_id) == ["request.opened"]


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}])
def test_a_withdrawal_that_does_not_fit_is_given_back_where_it_is_not_asked(
    maria: Client, headers: dict[str, str]
) -> None:
    request_id = opened(DEPLOY)
    long = "why-" * 1001
    address = f"/approvals/{request_id}/cancel/"
    for _ in range(2):
        answer = maria.post(address, {"cancel-words": long}, headers=headers)
        assert answer.status_code == 409
        assert f"What you had written: {long}" in read(answer).text
        if row(request_id).status == "pending":
            reject(request_id, manager("otto"), "No")


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}])
def test_a_retry_that_does_not_fit_is_given_back_where_it_is_not_asked_any_more(
    headers: dict[str, str],
) -> None:
    request_id, client = opened(DEPLOY), signed_in(person("olga", "operators"))
    sent = delivery(request_id, "linear")
    address = f"/approvals/{request_id}/deliveries/{sent.pk}/retry/"
    long = "why-" * 1001
    answer = client.post(address, {f"retry-{sent.pk}-words": long}, headers=headers)
    assert answer.status_code == 409
    assert f"What you had written: {long}" in read(answer).text


def test_a_retry_of_no_delivery_says_so_and_gives_back_what_was_typed() -> None:
    request_id, client = opened(DEPLOY), signed_in(person("olga", "operators"))
    address = f"/approvals/{request_id}/deliveries/404404/retry/"
    answer = client.post(address, {"retry-404404-words": "It is up"})
    assert answer.status_code == 404
    text = read(answer).text
    assert f"Request {request_id} has no delivery 404404." in text
    assert "What you had written: It is up" in text


def test_a_session_that_ended_gives_back_what_was_typed() -> None:
    request_id = opened(DEPLOY)
    status, page = posted(Client(), request_id, "reject", preset="Wrong time", words="<b>Friday")
    assert (status, row(request_id).status) == (403, "pending")
    assert "You are not logged in any more" in page.text
    assert "Wrong time <b>Friday" in page.text
    login = f"/accounts/login/?next=/approvals/{request_id}/reject/"
    assert login in page.links()
    assert list(page.faults()) == []


def test_a_form_that_is_too_old_gives_back_what_was_typed() -> None:
    request_id = opened(DEPLOY)
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(username=manager("maria").name))
    status, page = posted(strict, request_id, "reject", preset="Wrong time", words="<b>Friday")
    assert (status, row(request_id).status) == (403, "pending")
    assert "The form was too old" in page.text
    assert "Wrong time <b>Friday" in page.text
    assert list(page.faults()) == []


SECRET = "hunter2-of-maria"


@pytest.mark.parametrize(
    ("address", "sent"),
    [
        ("/accounts/login/", {"username": "maria", "password": SECRET}),
        ("/admin/login/", {"username": "maria", "password": SECRET}),
        (
            "/admin/password_change/",
            {"old_password": SECRET, "new_password1": SECRET, "new_password2": SECRET},
        ),
        ("/admin/auth/user/add/", {"username": "eva", "password1": SECRET, "password2": SECRET}),
        ("/preferences/", {"theme": "dark", "zone": SECRET, "keys": "on"}),
    ],
)
def test_a_form_that_is_too_old_prints_no_password_and_no_setting(
    address: str, sent: dict[str, str]
) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.create_superuser("root"))
    answer = strict.post(address, sent)
    assert (answer.status_code, SECRET in answer.content.decode()) == (403, False)
    assert "What you had written" not in read(answer).text
    assert "The form was too old" in read(answer).text


def test_somebody_who_may_not_decide_any_more_keeps_words_and_preset() -> None:
    request_id, dora = opened(DEPLOY), manager("dora")
    client = signed_in(dora)
    User.objects.get(username="dora").groups.clear()
    status, page = posted(client, request_id, "reject", preset="Wrong time", words="Friday")
    assert status == 403
    assert "What you had written: Wrong time Friday" in page.text
    assert page.find("input", value="Wrong time", checked="")
    status, page = posted(client, request_id, "approve", typed="", words="Friday")
    assert (status, "may decide this request" in page.text) == (403, True)


def test_those_who_may_not_decide_see_every_field_disabled() -> None:
    page = page_of(signed_in(person("dora", "developers")), opened(DEPLOY))
    assert len(page.find("input", name="reject-preset")) == len(REJECTION_PRESETS) + 1
    assert page.find("input", name="approve-typed")
    assert not page.find("nav", **{"class": "decision-bar"})

"""After a decision: what happens next, what is counted and folded, and who is next."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.test import Client

from approvals import services
from approvals.clock import clock
from approvals.core.events import EventName
from approvals.core.lifecycle import Choice, Via
from approvals.errors import NotAllowed
from approvals.models import Delivery
from tests.approvals.pages import Page, page_of, signed_in
from tests.approvals.scenes import (
    DELETE,
    DEPLOY,
    MIGRATE,
    approve,
    manager,
    opened,
    pass_deadline,
    person,
    reject,
    row,
    unguarded,
    vote,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]

ACTION = {"executor": "command", "argv": ["deploy"], "cwd": ".", "timeout_seconds": 60}


def asked_by_run(run_id: UUID, **facts: object) -> UUID:
    """A request that the interrupt of a run of ours opened."""
    given = {"workflow_id": str(run_id), "thread_id": str(run_id), "interrupt_id": uuid4().hex}
    return opened(DEPLOY, action=ACTION, **{**given, **facts})


def told(request_id: UUID, *channels: str) -> None:
    """Let these channels know the latest."""
    Delivery.objects.filter(request_id=request_id, channel__in=channels).update(
        wanted=9, done=9, delivered_at=clock()
    )


def seen(request_id: UUID) -> Page:
    """The page as a release manager sees it."""
    return page_of(signed_in(manager("maria")), request_id)


def test_what_happens_next_is_told_until_the_run_ends() -> None:
    run_id = uuid4()
    request_id = asked_by_run(run_id, github_repo="example/shop", pr_number=7)
    services.record_run_event(run_id, EventName.RUN_STARTED, {"workflow": "deployment"})
    assert "What happens next" not in seen(request_id).text
    vote(request_id)
    text = seen(request_id).text
    assert "What happens next" in text
    assert "Chat, GitHub and Linear are told next." in text
    assert "The workflow is told of the decision." in text
    assert "The operation has not begun yet. It must begin within 4 h." in text
    told(request_id, "linear")
    services.record_event(request_id, EventName.EXECUTION_STARTED, {"attempt": 1})
    text = seen(request_id).text
    assert "Linear has been told." in text
    assert "Chat and GitHub are told next." in text
    assert "The workflow has the decision." in text
    assert "The operation is being carried out." in text
    assert "The run goes on." in text
    ended = {"attempt": 1, "status": "succeeded", "summary": "Exited with 0"}
    services.record_event(request_id, EventName.EXECUTION_FINISHED, ended)
    services.record_run_event(run_id, EventName.RUN_ENDED, {"status": "completed"})
    text = seen(request_id).text
    assert "The operation succeeded." in text
    assert "Exited with 0" in text
    assert "The run has ended: completed." in text


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        (EventName.RUN_NEEDS_ATTENTION, {"reason": "The worker died."}, "a person must look"),
        (EventName.RUN_ENDED, {"status": "failed"}, "The run has ended: failed."),
        (EventName.RUN_CANCELLED, {"reason": "Not wanted"}, "The run was cancelled."),
    ],
)
def test_a_run_that_goes_wrong_says_so_with_its_reason(
    name: EventName, data: dict[str, str], sentence: str
) -> None:
    run_id = uuid4()
    request_id = asked_by_run(run_id)
    vote(request_id)
    services.record_run_event(run_id, name, data)
    text = seen(request_id).text
    assert sentence in text
    assert data.get("reason", "") in text


def test_a_failed_operation_is_not_told_as_carried_out() -> None:
    request_id = asked_by_run(uuid4())
    vote(request_id)
    services.record_event(request_id, EventName.EXECUTION_STARTED, {"attempt": 2})
    assert "is being carried out, attempt 2." in seen(request_id).text
    ended = {"attempt": 2, "status": "failed", "summary": "Exited with 1"}
    services.record_event(request_id, EventName.EXECUTION_FINISHED, ended)
    text = seen(request_id).text
    assert "The operation failed." in text
    assert "tried to carry the operation out, and it failed" in text


def test_an_operation_that_could_not_be_begun_is_told_as_just_that() -> None:
    run_id = uuid4()
    request_id = asked_by_run(run_id)
    vote(request_id)
    services.record_event(request_id, EventName.EXECUTION_STARTED, {"attempt": 1})
    reason = "The call was not begun: nobody listens."
    ended = {"attempt": 1, "status": "held", "summary": reason}
    services.record_event(request_id, EventName.EXECUTION_FINISHED, ended)
    services.record_run_event(run_id, EventName.RUN_NEEDS_ATTENTION, {"reason": reason})
    text = seen(request_id).text
    assert "The operation was not begun." in text
    assert "could not begin the operation" in text
    assert "a person must look" in text
    assert "carried the operation out" not in text


def test_a_decision_that_the_run_did_not_use_or_never_got_says_why() -> None:
    refused, stopped = asked_by_run(uuid4()), asked_by_run(uuid4())
    for request_id in (refused, stopped):
        vote(request_id)
    services.record_event(refused, EventName.RESUME_REFUSED, {"reason": "The graph has changed."})
    text = seen(refused).text
    assert "The workflow did not use the decision." in text
    assert "The graph has changed." in text
    Delivery.objects.filter(request_id=stopped, channel="workflow").update(
        gave_up_at=clock(), last_error="Nobody answered."
    )
    assert "The workflow could not be told of the decision." in seen(stopped).text


def test_a_rejected_an_expired_and_a_withdrawn_operation_does_not_run() -> None:
    rejected, expired, withdrawn = opened(DEPLOY), opened(DEPLOY), opened(DEPLOY)
    reject(rejected, manager("grace"), "Not now")
    pass_deadline(expired)
    services.withdraw_request(withdrawn, actor=manager("grace"), reason="The run was cancelled.")
    for request_id in (rejected, expired, withdrawn):
        text = seen(request_id).text
        assert "The operation does not run." in text
        assert "has not begun yet" not in text


def test_a_superseded_request_says_that_it_decides_nothing() -> None:
    old, new = asked_by_run(uuid4()), asked_by_run(uuid4())
    services.supersede_request(old, reason="The payload changed.", successor_id=new)
    page = seen(old)
    assert "Another request took its place; this one decides nothing." in page.text
    assert "The workflow is told of the decision" not in page.text
    assert f"/approvals/{new}/" in page.links()


def test_of_an_agent_elsewhere_only_what_is_known_is_told() -> None:
    run_id = uuid4()
    # Whoever asks by API may name any workflow; what that does is no news of this request.
    request_id = opened(DEPLOY, workflow_id=str(run_id), thread_id="elsewhere")
    services.record_run_event(run_id, EventName.RUN_ENDED, {"status": "completed"})
    vote(request_id)
    text = seen(request_id).text
    assert "cicd asked by the API and reads the decision there." in text
    assert "The run has ended" not in text
    assert "has not begun" not in text


def test_the_page_listens_to_its_run_too() -> None:
    run_id = uuid4()
    page = seen(asked_by_run(run_id))
    assert page.find("div", id="request")[0].attributes["data-live"].endswith(f" {run_id}")
    alone = opened(DEPLOY)
    assert seen(alone).find("div", id="request")[0].attributes["data-live"] == str(alone)


def test_repeated_refusals_are_counted_in_the_timeline() -> None:
    request_id = opened(DEPLOY)
    for _ in range(3):
        with pytest.raises(NotAllowed):
            approve(request_id, person("dora", "developers"))
    with pytest.raises(NotAllowed):
        reject(request_id, person("dora", "developers"), "Then not at all")
    text = seen(request_id).text
    assert "dora tried to approve and was refused on the web 3 times" in text
    assert "dora tried to reject and was refused on the web" in text
    assert text.count("times") == 1


def test_a_long_timeline_folds_its_middle_and_a_short_one_does_not() -> None:
    request_id = opened(DEPLOY)
    assert not seen(request_id).find("details", id="timeline-middle")
    for number in range(20):
        services.record_event(request_id, EventName.DELIVERY_FAILED, {"error": f"Fault {number}"})
    page = seen(request_id)
    assert page.find("details", id="timeline-middle")
    assert "10 more in between" in page.text
    assert len(page.find("li", **{"data-event": "delivery.failed"})) == 20


def next_link(client: Client, request_id: UUID) -> str:
    """Where the key for the next request leads from this page."""
    (link,) = page_of(client, request_id).find("a", **{"data-key": "n"})
    return link.attributes["href"]


def test_the_next_request_is_the_next_one_that_waits_for_me() -> None:
    client = signed_in(manager("maria"))
    mild, severe, later = opened(MIGRATE), opened(DEPLOY), opened(DELETE)
    own = opened(MIGRATE, actor=manager("maria"))
    order = [severe, later, mild]
    unguarded(
        "UPDATE approval_requests SET expires_at = %s WHERE id = %s",
        [row(severe).expires_at + timedelta(hours=9), later],
    )
    for here, there in zip(order, [*order[1:], order[0]], strict=True):
        assert next_link(client, here) == f"/approvals/{there}/"
    # Whoever asked may not decide, so one's own is never next.
    assert own not in order
    approve(mild, manager("maria"))
    assert next_link(client, mild) == f"/approvals/{severe}/"
    services.cast_vote(later, actor=manager("maria"), choice=Choice.APPROVE)
    reject(severe, manager("maria", Via.API), "No")
    assert next_link(client, severe) == "/"
    assert "Nothing else waits for you" in page_of(client, severe).text


def test_the_next_request_follows_the_filters_and_the_order_of_the_queue() -> None:
    client = signed_in(manager("maria"))
    builder = {"agent_name": "infrastructure"}
    oldest, between, newest = opened(MIGRATE, **builder), opened(DEPLOY), opened(MIGRATE, **builder)
    client.get("/?agent=infrastructure&sort=newest")
    assert next_link(client, newest) == f"/approvals/{oldest}/"
    assert next_link(client, oldest) == f"/approvals/{newest}/"
    reject(newest, manager("maria"), "No")
    assert next_link(client, oldest) == "/"
    assert "Nothing else in the filtered queue waits for you" in page_of(client, oldest).text
    client.get("/?clear")
    assert next_link(client, oldest) == f"/approvals/{between}/"


def test_a_filter_that_makes_no_sense_any_more_hides_no_next_request() -> None:
    client = signed_in(manager("maria"))
    here, there = opened(MIGRATE), opened(DEPLOY)
    session = client.session
    session["queue"] = "risk_level=apocalyptic&sort=sideways"
    session.save()
    assert next_link(client, here) == f"/approvals/{there}/"


def test_what_i_may_not_decide_is_never_next() -> None:
    first, second = opened(DEPLOY), opened(DELETE)
    client = signed_in(person("dora", "developers"))
    assert next_link(client, first) == "/"
    pass_deadline(second)
    assert next_link(signed_in(manager("maria")), first) == "/"

"""Many words at once: one decision, and at most one effect."""

from concurrent.futures import ThreadPoolExecutor

from tests.e2e.gateway import Gateway
from tests.e2e.graphs import QUESTIONS

FIRST_REQUEST = "SELECT id FROM approval_requests WHERE workflow_id = %s LIMIT 1"
MOVED_TO_DONE = "{} moved it to Done"


def test_twelve_identical_webhooks_at_once_resume_once_and_run_once(gateway: Gateway) -> None:
    run = gateway.ask("deploy")
    issue = gateway.issue(run.request())
    gateway.sandbox.move(issue["identifier"], "Done", "ada", webhook=False)
    webhook = gateway.webhook(issue["id"], MOVED_TO_DONE.format("Ada Approver"))
    answers = gateway.sandbox.resend(webhook["id"], 12, concurrently=True)
    assert [answer["status"] for answer in answers] == [200] * 12
    said = sorted(answer["body"]["status"] for answer in answers)
    assert said == ["duplicate"] * 11 + ["resumed"]
    run.wait("completed")
    assert len(run.effects()) == 1
    # Long afterwards the same webhook still says nothing new.
    (late,) = gateway.sandbox.resend(webhook["id"])
    assert late["body"]["status"] == "duplicate"
    gateway.wait_until_told(issue["id"])
    assert len(run.effects()) == 1


def test_an_approve_and_a_reject_from_two_channels_at_once_are_one_decision(
    gateway: Gateway,
) -> None:
    for _ in range(4):
        run = gateway.ask("deploy")
        issue = gateway.issue(run.request())
        gateway.sandbox.move(issue["identifier"], "Done", "ada", webhook=False)
        webhook = gateway.webhook(issue["id"], MOVED_TO_DONE.format("Ada Approver"))
        with ThreadPoolExecutor(2) as people:
            approval = people.submit(gateway.sandbox.resend, webhook["id"])
            rejection = people.submit(gateway.reject, issue["id"])
            approved, rejected = approval.result()[0]["body"], rejection.result()
        if approved["status"] == "resumed":
            assert (rejected.status_code, rejected.json()["decided_by"]) == (409, "ada")
            run.wait("completed")
            assert len(run.effects()) == 1
        else:
            assert (approved["status"], rejected.status_code) == ("refused", 200)
            assert "already rejected by ben" in approved["reason"]
            run.wait("rejected")
            assert run.effects() == []


def test_two_moves_in_linear_make_a_quorum_of_two(gateway: Gateway) -> None:
    run = gateway.ask("terraform_apply")
    issue = gateway.issue(run.request())
    assert gateway.approval(issue["id"])["quorum"] == 2
    gateway.sandbox.move(issue["identifier"], "Done", "ada")
    answer = gateway.answer_to(issue["id"], MOVED_TO_DONE.format("Ada Approver"))
    assert (answer["status"], answer["reason"]) == ("recorded", "1 of 2 approvals")
    gateway.issue(issue["id"], state="Todo", comment="1 of 2")
    assert (run.view()["status"], run.effects()) == ("waiting", [])
    # Ada again is still one person.
    gateway.sandbox.move(issue["identifier"], "Approved", "ada")
    answer = gateway.answer_to(issue["id"], "Ada Approver moved it to Approved")
    assert (answer["status"], answer["reason"]) == ("recorded", "1 of 2 approvals")
    gateway.issue(issue["id"], state="Todo")
    gateway.sandbox.move(issue["identifier"], "Done", "ben")
    answer = gateway.answer_to(issue["id"], MOVED_TO_DONE.format("Ben Approver"))
    assert answer["status"] == "resumed"
    run.wait("completed")
    assert len(run.effects()) == 1
    gateway.issue(issue["id"], state="Done", comment="**Approved** by ben")


def test_people_may_decide_before_the_first_invocation_is_written_down(gateway: Gateway) -> None:
    run = gateway.run_graph("many_questions")
    count = "SELECT count(*) AS asked FROM approval_requests WHERE workflow_id = %s"
    first = gateway.stack.wait_for_row(FIRST_REQUEST, run.id)["id"]
    # Opening another one refers to the account that asks; as long as that is locked, none opens.
    with gateway.stack.connection() as connection, connection.transaction():
        connection.execute("SELECT 1 FROM auth_user WHERE username = 'rosa' FOR UPDATE")
        assert gateway.approve(str(first)).status_code == 200
        assert gateway.stack.rows(count, run.id)[0]["asked"] < QUESTIONS
    run.requests(QUESTIONS - 1)
    run.wait_for_effects(1)
    gateway.wait_until_told(str(first))
    gateway.call("rosa", "POST", f"/workflows/{run.id}/cancel", {"reason": "Enough was seen."})
    assert run.wait("cancelled")
    assert len(run.effects()) == 1


def test_a_request_may_be_decided_while_a_sibling_in_the_same_graph_is_at_work(
    gateway: Gateway,
) -> None:
    run = gateway.run_graph("two_regions")
    left, right = gateway.by_place(run.requests(2))
    gate = gateway.stack.close_gate(f"{run.label}-left")
    assert gateway.approve(left).status_code == 200
    run.wait_for_effects(1)
    # The left one is in the middle of its deployment when the right one is approved.
    assert gateway.approve(right).status_code == 200
    gateway.wait_until_tried(right)
    assert [effect["options"]["place"] for effect in run.effects()] == ["left"]
    gate.open()
    run.wait("completed")
    assert sorted(effect["options"]["place"] for effect in run.effects()) == ["left", "right"]

"""Graphs that somebody registered in their settings, and that know nothing of this project."""

from tests.e2e.gateway import Gateway


def test_a_registered_graph_waits_for_its_approval_and_then_acts(gateway: Gateway) -> None:
    run = gateway.run_graph("one_question")
    issue = gateway.issue(run.request())
    assert "The workflow does the work itself" in issue["description"]
    gateway.sandbox.move(issue["identifier"], "Done", "ada")
    done = run.wait("completed")
    assert done["result"]["values"]["done"] == ["here: approved"]
    assert [effect["options"]["place"] for effect in run.effects()] == ["here"]


def test_a_redelivered_resume_does_not_answer_the_same_nodes_next_question(
    gateway: Gateway,
) -> None:
    run = gateway.run_graph("same_question_twice")
    first = run.request()
    assert gateway.approve(first).status_code == 200
    second = run.new_request(first)
    gateway.wait_until_told(first)
    # An operator has the verdict delivered again, and once more.
    browser, page = gateway.browser(), f"/approvals/{first}/"
    delivery = gateway.delivery(first)["id"]
    for _ in range(2):
        words = {f"retry-{delivery}-words": "Was it heard?"}
        answer = browser.post(f"{page}deliveries/{delivery}/retry/", page=page, **words)
        assert answer.status_code == 302
        gateway.wait_until_told(first)
    assert gateway.approval(second)["status"] == "pending"
    assert run.view()["status"] == "waiting"
    assert gateway.reject(second).status_code == 200
    assert run.wait("rejected")["result"]["values"]["done"] == ["approved", "rejected"]


def test_a_payload_that_changed_while_it_waited_is_asked_anew(gateway: Gateway) -> None:
    run = gateway.run_graph("two_regions")
    left, right = gateway.by_place(run.requests(2))
    gateway.stack.write_version(run.label, "v2")
    # The right node runs again when the left one resumes, and now asks for something else.
    assert gateway.approve(left).status_code == 200
    successor = run.new_request(left, right)
    assert gateway.approval(successor)["task"]["version"] == "v2"
    gateway.issue(right, state="Canceled", comment="**Superseded**")
    assert gateway.approval(right)["status"] == "superseded"
    assert [effect["options"]["place"] for effect in run.effects()] == ["left"]
    assert gateway.reject(successor).status_code == 200
    run.wait("rejected")


def test_a_payload_that_changed_after_its_approval_is_not_executed_but_asked_anew(
    gateway: Gateway,
) -> None:
    run = gateway.run_graph("two_regions")
    left, right = gateway.by_place(run.requests(2))
    assert gateway.approval(right)["task"]["version"] == "v1"
    gate = gateway.stack.close_gate(f"{run.label}-left")
    gateway.stack.write_version(run.label, "v2")
    assert gateway.approve(left).status_code == 200
    run.wait_for_effects(1)
    # While the left one is at work, the right one is approved as it was: but it has changed.
    assert gateway.approve(right).status_code == 200
    gate.open()
    successor = run.new_request(left, right)
    assert gateway.approval(successor)["task"]["version"] == "v2"
    refused = "SELECT 1 FROM approvals_auditentry WHERE stream = %s AND name = %s"
    gateway.stack.wait_for_row(refused, right, "request.resume_refused")
    assert [effect["options"]["place"] for effect in run.effects()] == ["left"]
    # What is approved now is what runs.
    assert gateway.approve(successor).status_code == 200
    run.wait("completed")
    assert [effect["version"] for effect in run.effects()] == ["", "v2"]

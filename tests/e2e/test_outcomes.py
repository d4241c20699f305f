"""What follows each way a request can end: for the run, the issue and the pull request."""

from tests.e2e.gateway import Gateway


def test_an_approved_operation_runs_and_everybody_is_told(gateway: Gateway) -> None:
    pull = gateway.open_pull()
    run = gateway.ask("deploy", **pull)
    request_id = run.request()
    gateway.comments_on(pull, 1)
    assert gateway.approve(request_id).status_code == 200
    assert run.wait("completed")["result"]["outcome"] == "completed"
    assert len(run.effects()) == 1
    gateway.issue(request_id, state="Done", comment="**Approved** by ben")
    assert "Approved by ben" in gateway.comments_on(pull, 2)[1]


def test_a_rejected_operation_does_not_run_and_its_rollback_does(gateway: Gateway) -> None:
    pull, label = gateway.open_pull(), "e2e-rejected"
    task = {
        "operation": "deploy",
        "environment": "production",
        "arguments": {"version": "v3.0.0", "service": label},
    }
    run = gateway.start("pr-deployment", task, label, **pull)
    issue = gateway.issue(run.request())
    gateway.sandbox.move(issue["identifier"], "Canceled", "ada")
    ended = run.wait("rejected")
    assert [(e["operation"], e["environment"]) for e in run.effects()] == [
        ("deploy", "staging"),
        ("rollback", "staging"),
    ]
    assert ended["result"]["steps"][-2]["status"] == "rejected"
    assert "Moved to Canceled by Ada Approver" in ended["result"]["steps"][-2]["summary"]
    gateway.issue(issue["id"], state="Canceled", comment="**Rejected** by ada")
    assert "Rejected by ada" in gateway.comments_on(pull, 2)[1]


def test_what_nobody_decides_expires_and_does_not_run(gateway: Gateway) -> None:
    pull = gateway.open_pull()
    run = gateway.ask("brief", **pull)
    request_id = run.request()
    assert run.wait("expired")["result"]["steps"][0]["status"] == "expired"
    assert run.effects() == []
    gateway.issue(request_id, state="Canceled", comment="**Expired**")
    assert any("Nobody decided before" in body for body in gateway.comments_on(pull, 2))
    late = gateway.approve(request_id)
    assert (late.status_code, late.json()["status"]) == (409, "expired")


def test_a_cancelled_workflow_withdraws_what_it_waited_for(gateway: Gateway) -> None:
    pull = gateway.open_pull()
    run = gateway.ask("deploy", **pull)
    request_id = run.request()
    gateway.comments_on(pull, 1)
    why = {"reason": "The release was postponed."}
    answer = gateway.call("rosa", "POST", f"/workflows/{run.id}/cancel", why)
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    gateway.issue(request_id, state="Canceled", comment="**Cancelled**")
    assert "The release was postponed." in gateway.comments_on(pull, 2)[1]
    assert gateway.approve(request_id).status_code == 409
    assert run.wait("cancelled")["approvals"][0]["status"] == "cancelled"
    assert run.effects() == []

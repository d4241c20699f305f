"""The whole story: an agent asks, Ada moves an issue, and the operation runs exactly once."""

from tests.e2e.gateway import Gateway, new_label
from tests.e2e.metrics import scrape


def test_a_production_deploy_waits_for_ada_and_then_runs_exactly_once(gateway: Gateway) -> None:
    approved = ("hitl_approval_requests_resolved_total", {"status": "approved"})
    before = scrape(gateway.stack.url).value(*approved, agent="cicd", risk_level="critical")

    # An agent asks for a release to production, for a pull request.
    service, pull = new_label(), gateway.open_pull()
    task = {
        "operation": "deploy",
        "environment": "production",
        "description": "Deploy v2.5.0: saved baskets and faster search",
        "arguments": {"version": "v2.5.0", "service": service},
    }
    run = gateway.start("pr-deployment", task, service, **pull)

    # Review, tests and staging need no human; production does: the run waits, and says for what.
    waiting = run.wait("waiting")
    assert [(step["name"], step["status"]) for step in waiting["steps"]] == [
        ("review", "succeeded"),
        ("test", "succeeded"),
        ("stage", "succeeded"),
        ("deploy", "waiting"),
    ]
    request_id = run.request()
    request = gateway.approval(request_id)
    assert (request["status"], request["risk_level"]) == ("pending", "critical")
    assert [effect["environment"] for effect in run.effects()] == ["staging"]

    # People learn of it where they are: an issue in Linear, a comment on the pull request.
    issue = gateway.issue(request_id, state="Todo")
    assert issue["title"].startswith("[APPROVAL REQUIRED] deploy to production")
    assert "v2.5.0" in issue["description"]
    assert "Approval required: deploy to production" in gateway.comments_on(pull, 1)[0]

    # Ada moves the issue to Done. Linear's webhook says so, and the workflow resumes.
    gateway.sandbox.move(issue["identifier"], "Done", "ada")
    answer = gateway.answer_to(request_id, "Ada Approver moved it to Done")
    assert answer == {"status": "resumed", "request_id": request_id, "workflow_id": run.id}

    # Exactly what was approved has run, exactly once.
    done = run.wait("completed")
    assert done["steps"][-1]["status"] == "succeeded"
    production = [e for e in run.effects() if e["environment"] == "production"]
    assert [(e["operation"], e["version"]) for e in production] == [("deploy", "v2.5.0")]
    assert production[0]["idempotency_key"] == f"request:{request_id}"

    # Everybody can see who decided: on the issue, on the pull request, by API, in the metrics.
    gateway.issue(request_id, state="Done", comment="**Approved** by ada")
    assert "Approved by ada" in gateway.comments_on(pull, 2)[1]
    assert gateway.approval(request_id)["approved_by"] == "ada"
    after = scrape(gateway.stack.url).value(*approved, agent="cicd", risk_level="critical")
    assert after == before + 1

    # And nobody can rewrite how it came about: every entry is chained to the one before.
    gateway.stack.manage("verify_audit")

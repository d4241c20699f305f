"""The whole path from an agent's question to the effect, once for each way to decide."""

from tests.e2e.gateway import Gateway, Run

CHANGELIST = "/admin/approvals/approvalrequest/"


def assert_ran_once(run: Run, request_id: str, decided_by: str, via: str) -> None:
    """The run completed, with one effect, and the log says who decided it by which way."""
    assert run.wait("completed")["approvals"][0]["status"] == "approved"
    keys = [effect["idempotency_key"] for effect in run.effects()]
    assert keys == [f"request:{request_id}"]
    query = (
        "SELECT actor, via FROM approvals_auditentry"
        " WHERE stream = %s AND name = 'request.approved'"
    )
    (entry,) = run.gateway.stack.rows(query, request_id)
    assert entry == {"actor": decided_by, "via": via}


def test_a_move_in_linear_decides(gateway: Gateway) -> None:
    run = gateway.ask("deploy")
    issue = gateway.issue(run.request())
    gateway.sandbox.move(issue["identifier"], "Approved", "ben")
    assert_ran_once(run, issue["id"], "ben", "linear_move")
    # People's own choice of a state that approves is left as it is.
    gateway.issue(issue["id"], state="Approved", comment="**Approved** by ben")


def test_a_comment_in_linear_decides_a_high_request(gateway: Gateway) -> None:
    run = gateway.ask("rollback")
    issue = gateway.issue(run.request())
    assert gateway.approval(issue["id"])["risk_level"] == "high"
    gateway.sandbox.comment(issue["identifier"], "/approve the old one was better", "ada")
    assert_ran_once(run, issue["id"], "ada", "linear_comment")
    gateway.issue(issue["id"], state="Done", comment="the old one was better")


def test_a_comment_in_linear_does_not_decide_a_critical_request(gateway: Gateway) -> None:
    run = gateway.ask("deploy")
    issue = gateway.issue(run.request())
    gateway.sandbox.comment(issue["identifier"], "/approve", "ada")
    gateway.issue(issue["id"], state="Todo", comment="The vote of ada does not count")
    assert run.view()["status"] == "waiting"
    assert run.effects() == []


def test_the_web_queue_decides(gateway: Gateway) -> None:
    run = gateway.ask("deploy")
    request_id = run.request()
    browser = gateway.browser()
    assert f"/approvals/{request_id}/" in browser.read("/")
    page = f"/approvals/{request_id}/"
    words = {"approve-words": "Ship it.", "approve-typed": "production"}
    answer = browser.post(f"{page}approve/", page=page, **words)
    assert (answer.status_code, answer.headers["location"]) == (302, page)
    assert_ran_once(run, request_id, "ada", "web")
    gateway.issue(request_id, state="Done", comment="Ship it.")
    assert "Ship it." in browser.read(page)


def test_an_action_of_the_admin_decides(gateway: Gateway) -> None:
    # What is critical is approved where its environment is typed.
    run = gateway.ask("rollback")
    request_id = run.request()
    browser = gateway.browser()
    chosen = {"action": "approve", "_selected_action": request_id}
    asked = browser.post(CHANGELIST, **chosen)
    assert (asked.status_code, gateway.approval(request_id)["status"]) == (200, "pending")
    answer = browser.post(CHANGELIST, **chosen, confirmed="1", reason="Looked at it.")
    assert answer.status_code == 302
    assert_ran_once(run, request_id, "ada", "admin")


def test_a_call_of_the_api_decides(gateway: Gateway) -> None:
    run = gateway.ask("deploy")
    request_id = run.request()
    answer = gateway.approve(request_id)
    assert (answer.status_code, answer.json()["status"]) == (200, "approved")
    assert_ran_once(run, request_id, "ben", "api")


def test_a_command_decides_by_the_issues_identifier(gateway: Gateway) -> None:
    run = gateway.ask("deploy")
    issue = gateway.issue(run.request())
    query = "SELECT 1 FROM approval_requests WHERE linear_issue_id = %s"
    gateway.stack.wait_for_row(query, issue["identifier"])
    words = ("--approve", "--reason", "The webhook got lost.", "--as", "ada")
    gateway.stack.manage("resolve_request", issue["identifier"], *words)
    assert_ran_once(run, issue["id"], "ada", "command")

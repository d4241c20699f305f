"""The stand-in Linear answers its GraphQL API as the real one does."""

from uuid import UUID, uuid4, uuid5

import httpx
import pytest

from tests.sandbox.linear_calls import (
    CREATE,
    DONE_ID,
    LABEL_ID,
    PATH,
    TEAM_ID,
    ask,
    create_issue,
    error_of,
)
from tests.sandbox_process import Sandbox

ISSUES = """
query ($ids: [ID!]!, $archived: Boolean) {
  issues(filter: {id: {in: $ids}}, first: 20, includeArchived: $archived) {
    nodes {
      id identifier state { name type } trashed archivedAt
      history(first: 10) {
        nodes { actor { name } botActor { name type } fromState { name } toState { name } }
      }
      comments(first: 10) { nodes { body user { name } botActor { type } parent { id } } }
      reactions { emoji user { name } }
    }
  }
}
"""


def test_names_resolve_to_ids(linear: httpx.Client) -> None:
    found = ask(
        linear,
        """{
          viewer { name email }
          teams(filter: {key: {eq: "CHEF"}}) { nodes { id key name } }
          nobodys: teams(filter: {key: {eq: "OPS"}}) { nodes { id } }
          workflowStates(filter: {team: {key: {eq: "CHEF"}}, name: {eq: "Done"}}) {
            nodes { id name type team { key } }
          }
          issueLabels(filter: {name: {in: ["approval-required", "unknown"]}}) { nodes { id } }
          projects(filter: {name: {eqIgnoreCase: "approvals"}}) { nodes { name } }
          users(filter: {email: {eq: "ada@example.com"}}) { nodes { id name } }
        }""",
    )
    assert found == {
        "viewer": {"name": "HITL Gateway", "email": "gateway@example.com"},
        "teams": {"nodes": [{"id": TEAM_ID, "key": "CHEF", "name": "code-chef"}]},
        "nobodys": {"nodes": []},
        "workflowStates": {
            "nodes": [{"id": DONE_ID, "name": "Done", "type": "completed", "team": {"key": "CHEF"}}]
        },
        "issueLabels": {"nodes": [{"id": LABEL_ID}]},
        "projects": {"nodes": [{"name": "Approvals"}]},
        "users": {
            "nodes": [{"id": "b5ea5f1f-8adc-4f52-b4bd-ab4e84cf51ba", "name": "Ada Approver"}]
        },
    }


def test_a_second_issue_with_the_same_id_is_a_conflict(
    linear: httpx.Client, sandbox: Sandbox
) -> None:
    issue_id = str(uuid4())
    assert create_issue(linear, id=issue_id)["id"] == issue_id
    error = error_of(linear, CREATE, input={"teamId": TEAM_ID, "title": "Again", "id": issue_id})
    assert error["message"] == "conflict on insert of Issue"
    assert error["extensions"]["code"] == "INPUT_ERROR"
    assert [issue["title"] for issue in sandbox.issues()] == ["Deploy v2.5.0"]


@pytest.mark.parametrize(
    "issue_id", [str(uuid5(UUID(TEAM_ID), "x")), "not-a-uuid", "7fb5e476" + "0" * 24, ""]
)
def test_only_uuids_of_version_4_are_taken(linear: httpx.Client, issue_id: str) -> None:
    error = error_of(linear, CREATE, input={"teamId": TEAM_ID, "title": "x", "id": issue_id})
    assert error["extensions"]["code"] == "INPUT_ERROR"


@pytest.mark.parametrize(
    "wrong",
    [
        {"teamId": "9a0f6d3e-52c4-4a8e-8d3b-1f2e3d4c5b6a"},
        {"teamId": "CHEF"},
        {"stateId": "Done"},
        {"labelIds": ["approval-required"]},
        {"projectId": "Approvals"},
        {"priority": 5},
        {"title": ""},
    ],
)
def test_references_are_ids_and_values_are_checked(
    linear: httpx.Client, sandbox: Sandbox, wrong: dict[str, object]
) -> None:
    error = error_of(linear, CREATE, input={"teamId": TEAM_ID, "title": "x", **wrong})
    assert error["extensions"]["code"] == "INPUT_ERROR"
    assert sandbox.issues() == []


def test_unknown_ids_are_not_found(linear: httpx.Client) -> None:
    for query in (
        '{ issue(id: "CHEF-404") { id } }',
        '{ issue(id: "9a0f6d3e-52c4-4a8e-8d3b-1f2e3d4c5b6a") { id } }',
        'mutation { commentCreate(input: {issueId: "CHEF-404", body: "x"}) { success } }',
        'mutation { issueUpdate(id: "CHEF-404", input: {title: "x"}) { success } }',
    ):
        error = error_of(linear, query)
        assert error["message"] == "Entity not found: Issue"
        assert error["extensions"]["code"] == "INPUT_ERROR"


def test_many_issues_are_read_in_one_query_with_who_moved_them(
    linear: httpx.Client, sandbox: Sandbox
) -> None:
    first, second = create_issue(linear), create_issue(linear, "Migrate orders")
    create_issue(linear, "Not asked for")
    sandbox.move(first["id"], "Done", "ada")
    sandbox.move(first["identifier"], "Todo", "bot")
    sandbox.comment(second["id"], "/approve", "ben")
    sandbox.comment(second["id"], "merged", "bot")
    sandbox.react(second["id"], "-1", "nora")
    ids = [first["id"], second["id"]]
    found = {node["id"]: node for node in ask(linear, ISSUES, ids=ids)["issues"]["nodes"]}
    assert set(found) == set(ids)
    moves = [
        (move["actor"], move["botActor"], move["fromState"]["name"], move["toState"]["name"])
        for move in found[first["id"]]["history"]["nodes"]
    ]
    assert moves == [
        (None, {"name": "GitHub", "type": "github"}, "Done", "Todo"),
        ({"name": "Ada Approver"}, None, "Todo", "Done"),
    ]
    comments = found[second["id"]]["comments"]["nodes"]
    assert [(c["body"], c["user"], c["botActor"]) for c in comments] == [
        ("merged", None, {"type": "github"}),
        ("/approve", {"name": "Ben Approver"}, None),
    ]
    assert found[second["id"]]["reactions"] == [{"emoji": "-1", "user": {"name": "Nora Norights"}}]


def test_pages_follow_one_another(linear: httpx.Client) -> None:
    created = [create_issue(linear, f"Issue {n}")["identifier"] for n in range(5)]
    query = """query ($after: String) {
      issues(first: 2, after: $after) {
        nodes { identifier } pageInfo { hasNextPage endCursor }
      }
    }"""
    seen: list[str] = []
    after = None
    for _ in range(3):
        page = ask(linear, query, after=after)["issues"]
        seen += [node["identifier"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
    assert seen == created[::-1]
    assert page["pageInfo"]["hasNextPage"] is False


def test_trashed_issues_are_listed_only_when_asked_for(
    linear: httpx.Client, sandbox: Sandbox
) -> None:
    issue = create_issue(linear)
    sandbox.trash(issue["id"])
    assert ask(linear, ISSUES, ids=[issue["id"]])["issues"]["nodes"] == []
    [found] = ask(linear, ISSUES, ids=[issue["id"]], archived=True)["issues"]["nodes"]
    assert found["trashed"] is True
    assert found["archivedAt"] is not None
    assert ask(linear, '{ issue(id: "CHEF-1") { trashed } }') == {"issue": {"trashed": True}}


def test_an_attachment_of_the_same_url_is_updated(linear: httpx.Client, sandbox: Sandbox) -> None:
    issue = create_issue(linear)
    mutation = """mutation ($input: AttachmentCreateInput!) {
      attachmentCreate(input: $input) { attachment { id title } }
    }"""
    values = {"issueId": issue["identifier"], "url": "https://example.com/pull/7"}
    first = ask(linear, mutation, input={**values, "title": "Old"})["attachmentCreate"]
    second = ask(linear, mutation, input={**values, "title": "New"})["attachmentCreate"]
    assert second["attachment"] == {"id": first["attachment"]["id"], "title": "New"}
    assert len(sandbox.issue(issue["id"])["attachments"]) == 1


def test_comments_are_written_edited_and_answered(linear: httpx.Client, sandbox: Sandbox) -> None:
    issue = create_issue(linear)
    comment_id = str(uuid4())
    create = "mutation ($i: CommentCreateInput!) { commentCreate(input: $i) { comment { id } } }"
    values = {"id": comment_id, "issueId": issue["identifier"], "body": "1 of 2"}
    assert ask(linear, create, i=values)["commentCreate"]["comment"]["id"] == comment_id
    assert error_of(linear, create, i=values)["message"] == "conflict on insert of Comment"
    ask(linear, create, i={"issueId": issue["id"], "parentId": comment_id, "body": "thanks"})
    edit = (
        "mutation ($id: String!) { commentUpdate(id: $id, input: {body: "
        '"2 of 2"}) { comment { editedAt } } }'
    )
    assert ask(linear, edit, id=comment_id)["commentUpdate"]["comment"]["editedAt"]
    adas = sandbox.comment(issue["id"], "mine", "ada")
    assert error_of(linear, edit, id=adas["id"])["message"] == "Access denied"
    bodies = [(c["body"], c["parent_id"]) for c in sandbox.issue(issue["id"])["comments"]]
    assert bodies == [("2 of 2", None), ("thanks", comment_id), ("mine", None)]


def test_an_update_changes_what_it_names_and_nothing_else(
    linear: httpx.Client, sandbox: Sandbox
) -> None:
    issue = create_issue(linear, description="Text", priority=2, labelIds=[LABEL_ID])
    update = """mutation ($input: IssueUpdateInput!) {
      issueUpdate(id: "CHEF-1", input: $input) { issue { state { name } } }
    }"""
    done = ask(linear, update, input={"stateId": DONE_ID, "removedLabelIds": [LABEL_ID]})
    assert done["issueUpdate"]["issue"]["state"]["name"] == "Done"
    found = sandbox.issue(issue["id"])
    assert (found["description"], found["priority"], found["labels"]) == ("Text", 2, [])
    assert [(h["actor"], h["from"], h["to"]) for h in found["history"]] == [
        ("gateway", "Todo", "Done")
    ]


@pytest.mark.parametrize("key", ["", "wrong", "Bearer sandbox-gateway-key", "sandbox-mallory-key"])
def test_a_wrong_key_is_401(sandbox: Sandbox, key: str) -> None:
    answer = httpx.post(
        sandbox.linear_url, json={"query": "{ viewer { id } }"}, headers={"Authorization": key}
    )
    assert answer.status_code == 401
    assert answer.json()["errors"][0]["extensions"]["code"] == "AUTHENTICATION_ERROR"


def test_a_query_that_is_too_expensive_is_refused(linear: httpx.Client) -> None:
    query = "{ issues(first: 250) { nodes { history { nodes { id } } } } }"
    answer = linear.post(PATH, json={"query": query})
    assert answer.status_code == 400
    assert "too complex" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'{"query": 3}',
        b'{"query": "{ viewer { id } }", "variables": [1]}',
        b'{"query": "{ viewer { shoeSize } }"}',
        b'{"query": "{ viewer {"}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_valid_request_is_400(linear: httpx.Client, body: bytes) -> None:
    answer = linear.post(PATH, content=body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("title", ["a\\u0000b", "a\\ud800b"])
def test_nul_and_lone_surrogates_do_no_harm(
    linear: httpx.Client, sandbox: Sandbox, title: str
) -> None:
    in_variables = f'{{"query": "{" ".join(CREATE.split())}", "variables": {{"input": '
    in_variables += f'{{"teamId": "{TEAM_ID}", "title": "{title}"}}}}}}'
    assert linear.post(PATH, content=in_variables).status_code == 200
    [issue] = sandbox.issues()
    assert issue["title"] in {"ab", "a?b"}
    literal = 'mutation { issueCreate(input: {teamId: "%s", title: "%s"}) { success } }'
    assert linear.post(PATH, json={"query": literal % (TEAM_ID, title)}).status_code in {200, 400}
    assert all("\0" not in issue["title"] for issue in sandbox.issues())


def test_limits_are_told_in_milliseconds(linear: httpx.Client) -> None:
    answer = linear.post(PATH, json={"query": "{ viewer { id } }"})
    assert int(answer.headers["X-RateLimit-Requests-Reset"]) > 1_000_000_000_000
    assert answer.headers["X-RateLimit-Requests-Limit"] == "2500"

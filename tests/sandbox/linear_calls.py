"""GraphQL requests that several tests make."""

from typing import Any

import httpx

PATH = "/linear/graphql"
TEAM_ID = "72b2a2dc-6f4f-4423-9d34-24b5bd10634a"
DONE_ID = "22222222-2222-4222-8222-222222222222"
LABEL_ID = "44444444-4444-4444-8444-444444444444"

CREATE = """
mutation CreateIssue($input: IssueCreateInput!) {
  issueCreate(input: $input) { success issue { id identifier url state { name } } }
}
"""


def ask(client: httpx.Client, query: str, **variables: Any) -> Any:
    """Send a query and return its data. Raises AssertionError on any error."""
    answer = client.post(PATH, json={"query": query, "variables": variables})
    content = answer.json()
    assert answer.status_code == 200, content
    assert "errors" not in content, content
    return content["data"]


def error_of(client: httpx.Client, query: str, **variables: Any) -> Any:
    """Send a query and return its first error."""
    content = client.post(PATH, json={"query": query, "variables": variables}).json()
    return content["errors"][0]


def create_issue(client: httpx.Client, title: str = "Deploy v2.5.0", **more: Any) -> Any:
    """Create an issue; returns its id, identifier, url and state."""
    values = {"teamId": TEAM_ID, "title": title, **more}
    return ask(client, CREATE, input=values)["issueCreate"]["issue"]

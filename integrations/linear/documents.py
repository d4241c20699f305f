"""Every GraphQL document that is sent to Linear; a test checks each against Linear's schema."""

_MOVES = """
  nodes {
    id
    createdAt
    actor { id name }
    botActor { id }
    fromState { name }
    toState { name }
  }
  pageInfo { hasNextPage endCursor }
"""

# Fifty issues with this much history stay below Linear's limit on a query's complexity.
_ISSUE = f"""
  id
  identifier
  url
  trashed
  archivedAt
  team {{ key }}
  state {{ name }}
  history(first: 20) {{ {_MOVES} }}
"""

_COMMENTS = """
  nodes {
    id
    createdAt
    body
    editedAt
    user { id name }
    botActor { id }
    reactions { id createdAt emoji user { id name } }
  }
  pageInfo { hasNextPage endCursor }
"""

VIEWER = "query Viewer { viewer { id name } }"

WEBHOOKS = "query Webhooks { webhooks(first: 100) { nodes { url enabled resourceTypes } } }"

TEAM = """
query Team($key: String!) {
  teams(filter: { key: { eq: $key } }, first: 1) { nodes { id } }
  workflowStates(filter: { team: { key: { eq: $key } } }, first: 250) {
    nodes { id name }
  }
}
"""

LABELS = """
query Labels($names: [String!]!) {
  issueLabels(filter: { name: { in: $names } }, first: 250) { nodes { id name team { id } } }
}
"""

PROJECTS = """
query Projects($name: String!) {
  projects(filter: { name: { eq: $name } }, first: 2) { nodes { id } }
}
"""

ISSUES = f"""
query Issues($ids: [ID!]!) {{
  issues(filter: {{ id: {{ in: $ids }} }}, first: 50, includeArchived: true) {{
    nodes {{ {_ISSUE} }}
  }}
}}
"""

ISSUE = f"""
query Issue($id: ID!) {{
  issues(filter: {{ id: {{ eq: $id }} }}, first: 1, includeArchived: true) {{
    nodes {{
      {_ISSUE}
      comments(first: 50) {{ {_COMMENTS} }}
      reactions {{ id createdAt emoji user {{ id name }} }}
    }}
  }}
}}
"""

HISTORY = f"""
query History($id: String!, $after: String) {{
  issue(id: $id) {{ history(first: 100, after: $after) {{ {_MOVES} }} }}
}}
"""

COMMENTS = f"""
query Comments($id: String!, $after: String) {{
  issue(id: $id) {{ comments(first: 100, after: $after) {{ {_COMMENTS} }} }}
}}
"""

ISSUE_CREATE = f"""
mutation IssueCreate($input: IssueCreateInput!) {{
  issueCreate(input: $input) {{ success issue {{ {_ISSUE} }} }}
}}
"""

ISSUE_UPDATE = """
mutation IssueUpdate($id: String!, $input: IssueUpdateInput!) {
  issueUpdate(id: $id, input: $input) { success }
}
"""

COMMENT_CREATE = """
mutation CommentCreate($input: CommentCreateInput!) {
  commentCreate(input: $input) { success }
}
"""

ATTACHMENT_CREATE = """
mutation AttachmentCreate($input: AttachmentCreateInput!) {
  attachmentCreate(input: $input) { success }
}
"""

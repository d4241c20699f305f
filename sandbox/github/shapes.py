"""GitHub's JSON for what the sandbox knows; links lead to the sandbox itself."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from sandbox.github.links import REPOSITORY_LINKS, USER_LINKS
from sandbox.store import Row

Json = dict[str, Any]

OWN_LOGIN = "hitl-gateway"
QUEUED_SECONDS = 1.0
RUNNING_SECONDS = 3.0


def _number_for(text: str) -> int:
    """A stable id for something that has only a name."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def _second(text: str) -> str:
    """GitHub writes whole seconds."""
    return text.split(".", maxsplit=1)[0] + "Z"


class Shapes:
    """Builds GitHub's responses from rows."""

    def __init__(self, public_url: str) -> None:
        self._api = f"{public_url}/github/api"
        self._html = f"{public_url}/github"

    def user(self, login: str) -> Json:
        """A simple user."""
        url = f"{self._api}/users/{login}"
        return {
            "login": login,
            "id": _number_for(login),
            "node_id": f"U_{login}",
            "avatar_url": f"{self._html}/avatar/{login}",
            "gravatar_id": "",
            "url": url,
            "html_url": f"{self._html}/{login}",
            **{name: url + suffix for name, suffix in USER_LINKS.items()},
            "type": "User",
            "site_admin": False,
        }

    def repository(self, name: str) -> Json:
        """A repository, in the full form that pull requests carry."""
        url, html = f"{self._api}/repos/{name}", f"{self._html}/{name}"
        owner, short = name.split("/")
        return {
            "id": _number_for(name),
            "node_id": f"R_{short}",
            "name": short,
            "full_name": name,
            "owner": self.user(owner),
            "private": False,
            "html_url": html,
            "description": None,
            "fork": False,
            "url": url,
            **{link: url + suffix for link, suffix in REPOSITORY_LINKS.items()},
            "clone_url": f"{html}.git",
            "git_url": f"{html}.git",
            "ssh_url": f"{html}.git",
            "svn_url": html,
            "mirror_url": None,
            "homepage": None,
            "language": None,
            "license": None,
            "default_branch": "main",
            "visibility": "public",
            "archived": False,
            "disabled": False,
            "forks": 0,
            "forks_count": 0,
            "open_issues": 0,
            "open_issues_count": 0,
            "watchers": 0,
            "watchers_count": 0,
            "stargazers_count": 0,
            "size": 0,
            "has_issues": True,
            "has_projects": True,
            "has_wiki": False,
            "has_pages": False,
            "has_downloads": True,
            "has_discussions": False,
            "pushed_at": "2026-11-01T08:00:00Z",
            "created_at": "2024-03-04T08:00:00Z",
            "updated_at": "2026-11-01T08:00:00Z",
        }

    def pull(self, row: Row, comments: int) -> Json:
        """A pull request."""
        repository, number = row["repository"], row["number"]
        url = f"{self._api}/repos/{repository}/pulls/{number}"
        issue = f"{self._api}/repos/{repository}/issues/{number}"
        html = self.pull_page(repository, number)
        statuses = f"{self._api}/repos/{repository}/statuses/{row['head_sha']}"
        links = {
            "self": url,
            "html": html,
            "issue": issue,
            "comments": f"{issue}/comments",
            "review_comments": f"{url}/comments",
            "review_comment": f"{self._api}/repos/{repository}/pulls/comments{{/number}}",
            "commits": f"{url}/commits",
            "statuses": statuses,
        }
        return {
            "id": _number_for(url),
            "node_id": f"PR_{number}",
            "number": number,
            "url": url,
            "html_url": html,
            "diff_url": f"{html}.diff",
            "patch_url": f"{html}.patch",
            "issue_url": issue,
            "commits_url": links["commits"],
            "review_comments_url": links["review_comments"],
            "review_comment_url": links["review_comment"],
            "comments_url": links["comments"],
            "statuses_url": statuses,
            "_links": {name: {"href": href} for name, href in links.items()},
            "state": row["state"],
            "locked": False,
            "title": row["title"],
            "body": row["body"],
            "user": self.user(row["author"]),
            "labels": [],
            "milestone": None,
            "assignee": None,
            "author_association": "MEMBER",
            "auto_merge": None,
            "draft": False,
            "created_at": _second(row["created_at"]),
            "updated_at": _second(row["created_at"]),
            "closed_at": None,
            "merged_at": None,
            "merge_commit_sha": None,
            "merged": False,
            "mergeable": True,
            "mergeable_state": "clean",
            "merged_by": None,
            "maintainer_can_modify": False,
            "head": self._end(repository, row["head_ref"], row["head_sha"], row["author"]),
            "base": self._end(repository, row["base_ref"], "0" * 40, repository.split("/")[0]),
            "comments": comments,
            "review_comments": 0,
            "commits": 1,
            "additions": 0,
            "deletions": 0,
            "changed_files": 1,
        }

    def _end(self, repository: str, ref: str, sha: str, login: str) -> Json:
        return {
            "label": f"{repository.split('/', maxsplit=1)[0]}:{ref}",
            "ref": ref,
            "sha": sha,
            "user": self.user(login),
            "repo": self.repository(repository),
        }

    def pull_page(self, repository: str, number: int) -> str:
        """Where people see the pull request."""
        return f"{self._html}/{repository}/pull/{number}"

    def comment(self, row: Row) -> Json:
        """A comment on a pull request."""
        repository, number = row["repository"], row["number"]
        return {
            "id": row["id"],
            "node_id": f"IC_{row['id']}",
            "url": f"{self._api}/repos/{repository}/issues/comments/{row['id']}",
            "html_url": f"{self.pull_page(repository, number)}#issuecomment-{row['id']}",
            "issue_url": f"{self._api}/repos/{repository}/issues/{number}",
            "user": self.user(row["author"]),
            "body": row["body"],
            "created_at": _second(row["created_at"]),
            "updated_at": _second(row["updated_at"]),
            "author_association": "MEMBER",
            "performed_via_github_app": None,
        }

    def status(self, row: Row) -> Json:
        """A commit status."""
        return {
            "id": row["id"],
            "node_id": f"SC_{row['id']}",
            "url": f"{self._api}/repos/{row['repository']}/statuses/{row['sha']}",
            "avatar_url": None,
            "state": row["state"],
            "context": row["context"],
            "description": row["description"],
            "target_url": row["target_url"],
            "creator": self.user(OWN_LOGIN),
            "created_at": _second(row["created_at"]),
            "updated_at": _second(row["created_at"]),
        }

    def run_links(self, row: Row) -> Json:
        """What the dispatch of a workflow answers when details are asked for."""
        return {
            "workflow_run_id": row["id"],
            "run_url": f"{self._api}/repos/{row['repository']}/actions/runs/{row['id']}",
            "html_url": f"{self._html}/{row['repository']}/actions#run-{row['id']}",
        }

    def run(self, row: Row) -> Json:
        """A workflow run."""
        links = self.run_links(row)
        status, conclusion = run_status(row)
        repository = self.repository(row["repository"])
        return {
            "id": row["id"],
            "node_id": f"WFR_{row['id']}",
            "name": row["workflow"],
            "display_title": row["workflow"],
            "path": f".github/workflows/{row['workflow']}",
            "workflow_id": _number_for(row["workflow"]),
            "run_number": row["id"] % 1_000_000,
            "run_attempt": 1,
            "event": "workflow_dispatch",
            "status": status,
            "conclusion": conclusion,
            "head_branch": row["ref"],
            "head_sha": "0" * 40,
            "head_commit": None,
            "pull_requests": [],
            "url": links["run_url"],
            "html_url": links["html_url"],
            "jobs_url": f"{links['run_url']}/jobs",
            "logs_url": f"{links['run_url']}/logs",
            "check_suite_url": f"{links['run_url']}/check-suite",
            "artifacts_url": f"{links['run_url']}/artifacts",
            "cancel_url": f"{links['run_url']}/cancel",
            "rerun_url": f"{links['run_url']}/rerun",
            "workflow_url": f"{repository['url']}/actions/workflows/{row['workflow']}",
            "actor": self.user(OWN_LOGIN),
            "repository": repository,
            "head_repository": repository,
            "created_at": _second(row["created_at"]),
            "updated_at": _second(row["created_at"]),
        }


def run_status(row: Row) -> tuple[str, str | None]:
    """A run is queued for a second, runs for two more, and succeeds: (status, conclusion)."""
    age = (datetime.now(UTC) - datetime.fromisoformat(row["created_at"])).total_seconds()
    if age < QUEUED_SECONDS:
        return "queued", None
    if age < RUNNING_SECONDS:
        return "in_progress", None
    return "completed", "success"


def dispatch_report(row: Row) -> Json:
    """A dispatched run for the control API and the pages."""
    status, conclusion = run_status(row)
    return {
        "id": row["id"],
        "at": row["created_at"],
        "repository": row["repository"],
        "workflow": row["workflow"],
        "ref": row["ref"],
        "inputs": json.loads(row["inputs"]),
        "status": status,
        "conclusion": conclusion,
    }

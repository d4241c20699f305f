"""Commit statuses, dispatched workflows and deployment gates."""

from typing import Any

from starlette.responses import JSONResponse, Response

from sandbox.github.answers import Problem, invalid, json_body, not_found
from sandbox.github.repositories import Repositories
from sandbox.github.shapes import Shapes
from sandbox.recorder import Call
from sandbox.store import Row, dump_json, utc_now

STATES = ("error", "failure", "pending", "success")
LONGEST_DESCRIPTION = 140
MOST_INPUTS = 25


class Runs:
    """The calls about statuses and runs."""

    def __init__(self, repositories: Repositories, shapes: Shapes) -> None:
        self._repositories = repositories
        self._store = repositories.store
        self._shapes = shapes

    def create_status(self, call: Call) -> Response:
        """Set a commit's status in one context."""
        repository, sha = self._repositories.repository(call), call.path["sha"]
        body = json_body(call)
        if body.get("state") not in STATES:
            raise invalid("Status", "state", f"State must be one of {', '.join(STATES)}")
        description = body.get("description")
        if description is not None and len(str(description)) > LONGEST_DESCRIPTION:
            raise invalid(
                "Status", "description",
                f"Description is too long (maximum is {LONGEST_DESCRIPTION} characters)",
            )  # fmt: skip
        self._repositories.commit(repository, sha)
        number = self._store.insert(
            "statuses", repository=repository, sha=sha, state=body["state"],
            context=str(body.get("context") or "default"), description=description,
            target_url=body.get("target_url"), created_at=utc_now(),
        )  # fmt: skip
        row = self._store.rows("SELECT * FROM statuses WHERE id = ?", number)[0]
        return JSONResponse(self._shapes.status(row), 201)

    def statuses(self, call: Call) -> Response:
        """A commit's statuses, the newest first."""
        rows = self._store.rows(
            "SELECT * FROM statuses WHERE repository = ? AND sha = ? ORDER BY id DESC LIMIT 100",
            self._repositories.repository(call), call.path["ref"],
        )  # fmt: skip
        return JSONResponse([self._shapes.status(row) for row in rows])

    def dispatch(self, call: Call) -> Response:
        """Start a workflow; 204, or 200 with the run's links where `return_run_details` asks."""
        repository, workflow = self._repositories.repository(call), call.path["workflow"]
        if not (workflow.isdigit() or workflow.endswith((".yml", ".yaml"))):
            raise not_found()
        body = json_body(call)
        inputs = self._checked_inputs(body)
        ref = str(body.get("ref") or "").removeprefix("refs/heads/")
        if ref != "main" and not self._store.row(
            "SELECT 1 FROM pulls WHERE repository = ? AND head_ref = ?", repository, ref
        ):
            raise Problem(422, f"No ref found for: {ref}")
        number = self._store.insert(
            "workflow_runs", repository=repository, workflow=workflow, ref=ref,
            inputs=dump_json(inputs), created_at=utc_now(),
        )  # fmt: skip
        if not body.get("return_run_details"):
            return Response(status_code=204)
        return JSONResponse(self._shapes.run_links(self._row(repository, number)))

    def get(self, call: Call) -> Response:
        """One workflow run."""
        row = self._row(self._repositories.repository(call), call.path["run"])
        return JSONResponse(self._shapes.run(row))

    def review_deployment(self, call: Call) -> Response:
        """Approve or reject a deployment that waits at a custom gate."""
        row = self._row(self._repositories.repository(call), call.path["run"])
        body = json_body(call)
        if not body.get("environment_name"):
            raise invalid("DeploymentProtectionRule", "environment_name", "is missing")
        if body.get("state") not in {"approved", "rejected"}:
            raise invalid("DeploymentProtectionRule", "state", "must be approved or rejected")
        self._store.insert(
            "protection_reviews", repository=row["repository"], run_id=row["id"],
            environment=str(body["environment_name"]), state=body["state"],
            comment=str(body.get("comment") or ""), created_at=utc_now(),
        )  # fmt: skip
        return Response(status_code=204)

    def _row(self, repository: str, number: int) -> Row:
        row = self._store.row(
            "SELECT * FROM workflow_runs WHERE id = ? AND repository = ?", number, repository
        )
        if row is None:
            raise not_found()
        return row

    def _checked_inputs(self, body: dict[str, Any]) -> dict[str, Any]:
        inputs = body.get("inputs") or {}
        if not isinstance(inputs, dict) or len(inputs) > MOST_INPUTS:
            raise Problem(422, f"Inputs must be an object of at most {MOST_INPUTS} values.")
        return inputs

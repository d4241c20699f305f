"""Comments on pull requests: GitHub treats a pull request as an issue here."""

from urllib.parse import urlencode

from starlette.responses import JSONResponse, Response

from sandbox.github.answers import invalid, json_body
from sandbox.github.repositories import Repositories
from sandbox.github.shapes import OWN_LOGIN, Shapes
from sandbox.recorder import Call
from sandbox.store import Row, utc_now

DEFAULT_PAGE = 30
LARGEST_PAGE = 100
LONGEST_BODY = 65_536


class Comments:
    """The calls about comments."""

    def __init__(self, repositories: Repositories, shapes: Shapes, api_url: str) -> None:
        self._repositories = repositories
        self._shapes = shapes
        self._api_url = api_url

    def list(self, call: Call) -> Response:
        """One page of a pull request's comments, the oldest first, with a Link header."""
        pull = self._repositories.pull(call)
        rows = self._repositories.comments(pull["repository"], pull["number"])
        since = call.request.query_params.get("since")
        if since:
            rows = [row for row in rows if row["updated_at"] >= since]
        size = min(_positive(call, "per_page", DEFAULT_PAGE), LARGEST_PAGE)
        page = _positive(call, "page", 1)
        response = JSONResponse(
            [self._shapes.comment(row) for row in rows[(page - 1) * size : page * size]]
        )
        links = self._links(call, page, max(1, -(-len(rows) // size)))
        if links:
            response.headers["Link"] = links
        return response

    def create(self, call: Call) -> Response:
        """Write a comment as the gateway's account."""
        pull = self._repositories.pull(call)
        row = self._repositories.add_comment(
            pull["repository"], pull["number"], OWN_LOGIN, _body_text(call)
        )
        shape = self._shapes.comment(row)
        return JSONResponse(shape, 201, headers={"Location": shape["url"]})

    def get(self, call: Call) -> Response:
        """One comment."""
        return JSONResponse(self._shapes.comment(self._repositories.comment(call)))

    def update(self, call: Call) -> Response:
        """Replace a comment's text."""
        row = self._repositories.comment(call)
        self._repositories.store.run(
            "UPDATE pull_comments SET body = ?, updated_at = ? WHERE id = ?",
            _body_text(call), utc_now(), row["id"],
        )  # fmt: skip
        return self.get(call)

    def delete(self, call: Call) -> Response:
        """Remove a comment."""
        row: Row = self._repositories.comment(call)
        self._repositories.store.run("DELETE FROM pull_comments WHERE id = ?", row["id"])
        return Response(status_code=204)

    def _links(self, call: Call, page: int, last: int) -> str:
        pages = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
        wanted = {
            name: number
            for name, number in pages.items()
            if 1 <= number <= last and (page > 1 if name in {"prev", "first"} else page < last)
        }
        path = call.request.url.path.split("/github/api", 1)[1]
        query = dict(call.request.query_params)
        return ", ".join(
            f'<{self._api_url}{path}?{urlencode({**query, "page": number})}>; rel="{name}"'
            for name, number in wanted.items()
        )


def _positive(call: Call, name: str, default: int) -> int:
    text = call.request.query_params.get(name, "")
    return max(1, int(text)) if text.isascii() and text.isdigit() else default


def _body_text(call: Call) -> str:
    text = json_body(call).get("body")
    if not isinstance(text, str) or not text.strip():
        raise invalid("IssueComment", "body", "Body can't be blank")
    if len(text) > LONGEST_BODY:
        raise invalid(
            "IssueComment", "body", f"Body is too long (maximum is {LONGEST_BODY} characters)"
        )
    return text

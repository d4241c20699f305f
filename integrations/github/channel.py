"""GitHub as a channel: the pull request carries what is asked, and how it ended."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from approvals.core.canonical import digest
from approvals.core.events import GITHUB, ChannelError, Event, Receipt, Snapshot
from approvals.core.lifecycle import Status
from integrations.github import messages
from integrations.github.client import (
    Comment,
    GitHubClient,
    NotFound,
    configured_github,
    is_allowed,
)


@dataclass(frozen=True)
class Kept:
    """A comment of ours and the digest of the text it was last given."""

    id: int
    digest: str
    url: str

    @classmethod
    def from_json(cls, memory: Mapping[str, Any], part: str) -> Self | None:
        """What the memory holds about a part, if anything."""
        kept = memory.get(part)
        return cls(int(kept["id"]), str(kept["digest"]), str(kept["url"])) if kept else None


class GitHubChannel:
    """Keeps one comment about the opening and one about the outcome, edited rather than repeated.

    A comment that people removed is written anew only when its text has to change.
    """

    name = GITHUB

    def wants(self, request: Snapshot) -> bool:
        """Requests that belong to a pull request of an allow-listed repository."""
        return bool(request.pr_number and request.github_repo) and is_allowed(request.github_repo)

    def converge(self, request: Snapshot, since: Sequence[Event]) -> Receipt:
        """Make the pull request's comments agree with the request."""
        del since  # the comments say how things are, not what happened
        if not self.wants(request):
            raise ChannelError(
                f"{request.github_repo} is not among HITL_GITHUB_REPOSITORIES any more.",
                permanent=True,
            )
        visit = _Visit(configured_github(), request)
        try:
            shown = visit.make_agree()
        except ChannelError as error:
            error.memory = visit.memory
            raise
        return Receipt(f"{request.github_repo}#{request.pr_number}", shown.url, visit.memory)


class _Visit:
    """One attempt to bring one pull request up to date; notes every success at once."""

    def __init__(self, client: GitHubClient, request: Snapshot) -> None:
        self._client = client
        self._request = request
        self._repo = request.github_repo
        self._number = request.pr_number or 0
        self._kept = {part: Kept.from_json(request.memory, part) for part in messages.PARTS}
        self._found: dict[str, Comment] | None = None

    @property
    def memory(self) -> dict[str, Any]:
        """What is known of our comments, as JSON."""
        return {part: asdict(kept) for part, kept in self._kept.items() if kept}

    def make_agree(self) -> Kept:
        """The comment that matters most now."""
        request = self._request
        if request.status is Status.PENDING:
            return self._write(messages.OPENED, messages.opened_comment(request))
        # Of a request that ended before it could be announced, the outcome alone is worth saying.
        announced = bool(self._kept[messages.OPENED] or self._ours().get(messages.OPENED))
        outcome = messages.resolved_comment(request, alone=not announced)
        shown = self._write(messages.RESOLVED, outcome)
        if announced:
            self._write(messages.OPENED, messages.opened_comment(request))
        return shown

    def _write(self, part: str, text: str) -> Kept:
        """Make the comment say this: leave it, edit it, or create it where there is none."""
        wanted = digest(text)
        kept = self._kept[part]
        if kept and kept.digest == wanted:
            return kept
        comment = self._edit(kept.id, text) if kept else None
        if comment is None:
            self._kept[part] = None
            comment = self._find(part, text)
        if comment is None:
            comment = self._client.create_comment(self._repo, self._number, text)
        kept = self._kept[part] = Kept(comment.id, wanted, comment.url)
        return kept

    def _edit(self, comment_id: int, text: str) -> Comment | None:
        """The comment with this text, or None where it is gone."""
        try:
            return self._client.update_comment(self._repo, comment_id, text)
        except NotFound:
            return None

    def _find(self, part: str, text: str) -> Comment | None:
        """A POST whose answer was lost leaves a comment that nobody knows: look before posting."""
        found = self._ours().get(part)
        if found is None or _same(found.body, text):
            return found
        return self._edit(found.id, text)

    def _ours(self) -> dict[str, Comment]:
        """The comments about this request by our own account, by part; the oldest of each.

        Anybody can copy a marker, so the author counts, and only a marker on the first line.
        """
        if self._found is None:
            login = self._client.login.casefold()
            self._found = {}
            for comment in self._client.list_comments(self._repo, self._number):
                for part in messages.PARTS:
                    mark = messages.marker(self._request.id, part)
                    if comment.author.casefold() == login and comment.body.startswith(mark):
                        self._found.setdefault(part, comment)
        return self._found


def _same(one: str, other: str) -> bool:
    """Whether two texts differ by nothing but the line ends that GitHub may change."""
    return one.replace("\r\n", "\n").strip() == other.replace("\r\n", "\n").strip()

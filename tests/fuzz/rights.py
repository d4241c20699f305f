"""Who knocks, and which votes may come of it; the database is asked at the end."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from approvals import services
from approvals.audit import broken_links
from approvals.models import ApprovalRequest, Vote
from approvals.selectors.consistency import disagreements
from tests.integrations import linear_world

GROUPS = ("developers", "platform", "release-managers")
# In the groups that decide, linked to Linear; linked, but in no group; and not known here.
APPROVER, STAFFER, STRANGER = "linear-approver", "linear-staffer", "linear-stranger"
# Whose key the gateway holds. It is linked to somebody in those groups, which gives no vote either.
OWN = linear_world.GATEWAY


@dataclass
class Rights:
    """The people, and the votes that some input may have cast."""

    tokens: Mapping[str, str]
    allowed: set[tuple[UUID, str, str]] = field(default_factory=set)

    @classmethod
    def made(cls) -> "Rights":
        """People with and without a right to decide, and their tokens."""
        for name, groups, linear in (
            ("approver", GROUPS, APPROVER),
            ("staffer", (), STAFFER),
            ("owner", GROUPS, OWN),
            ("asker", GROUPS, ""),
        ):
            services.create_approver(
                name, email=f"{name}@example.com", groups=groups, linear_user_id=linear
            )
        return cls(
            {
                "nobody": "",
                "garbage": "hitl_no-such-token",
                "asker": services.create_token("asker", scope="request"),
                "asker to decide": services.create_token("asker", scope="decide"),
                "staffer": services.create_token("staffer", scope="decide"),
                "approver": services.create_token("approver", scope="decide"),
            }
        )

    def allow(self, request_id: UUID, choice: str) -> None:
        """Note that the approver may have cast this vote."""
        self.allowed.add((request_id, "approver", choice))

    def breaches(self) -> Iterator[str]:
        """What stands in the database and no input had a right to."""
        if not Vote.objects.exists():
            yield "no vote was cast at all, so nothing is proven"
        for vote in Vote.objects.select_related("user"):
            cast = (vote.request_id, vote.user.username, vote.choice)
            if cast not in self.allowed:
                yield f"a vote that nobody had a right to: {cast}, by {vote.via}"
        for request in ApprovalRequest.objects.prefetch_related("votes"):
            votes = [vote.choice for vote in request.votes.all()]
            approvals, rejections = votes.count("approve"), votes.count("reject")
            decided = {
                "approved": approvals >= request.policy["quorum"] and not rejections,
                "rejected": rejections > 0,
                "pending": not rejections and approvals < request.policy["quorum"],
            }
            if not decided.get(request.status, not rejections):
                yield f"a request whose votes do not say so: {request.pk} is {request.status}"
        yield from (f"the audit log: {sentence}" for sentence in broken_links())
        yield from (f"the audit log: {sentence}" for sentence in disagreements())


def new_requests() -> list[UUID]:
    """Requests of different risk that wait for people."""
    tasks = (
        {"operation": "deploy", "environment": "production"},
        {"operation": "db_migrate", "environment": "staging"},
        {"operation": "terraform_apply", "environment": "production"},
    )
    made = (
        services.open_request(workflow_id="wf-1", thread_id="t-1", agent_name="cicd", task=task)
        for task in tasks
    )
    return [opened.request_id for opened in made if opened.request_id is not None]

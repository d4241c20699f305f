"""Who and what always exists in the stand-in Linear: one team, its states, labels and people.

Every id is a fixed UUID v4, so that configuration and tests may name it.
"""

from dataclasses import dataclass

ORGANIZATION_ID = "dc844923-f9a4-40a3-825c-dea7747e57d6"
WEBHOOK_ID = "000042e3-d123-4980-b49f-8e140eef9329"
SINCE = "2026-01-05T08:00:00.000Z"


@dataclass(frozen=True)
class Person:
    """A Linear user."""

    id: str
    handle: str
    name: str
    email: str
    note: str = ""

    @property
    def api_key(self) -> str:
        """The key that acts as this person."""
        return f"sandbox-{self.handle}-key"


@dataclass(frozen=True)
class Bot:
    """An actor that is no person: an integration or an OAuth application."""

    id: str
    handle: str
    name: str
    type: str  # as an ActorBot's type
    webhook_type: str
    note: str = ""


@dataclass(frozen=True)
class State:
    """A workflow state; `type` is one of Linear's own."""

    id: str
    name: str
    type: str
    color: str


@dataclass(frozen=True)
class Label:
    """An issue label of the whole workspace."""

    id: str
    name: str
    color: str


@dataclass(frozen=True)
class Team:
    """The team whose issues these are."""

    id: str
    key: str
    name: str


@dataclass(frozen=True)
class Project:
    """A project issues may belong to."""

    id: str
    name: str
    slug: str


TEAM = Team("72b2a2dc-6f4f-4423-9d34-24b5bd10634a", "CHEF", "code-chef")
PROJECT = Project("5a3f9c1e-6d2b-4c8f-9e07-3b1d8a4c6f52", "Approvals", "approvals-3b1d8a4c6f52")
# Linear lets two projects have one name; here no issue belongs to them.
TWINS = (
    Project("0f6d1c52-1a7e-4b0d-8a35-6c9e2d7f4b18", "Twins", "twins-6c9e2d7f4b18"),
    Project("7c2e9b84-5d03-4f6a-b1c7-2e8a4d0f9c63", "Twins", "twins-2e8a4d0f9c63"),
)

PEOPLE = (
    Person(
        "b5ea5f1f-8adc-4f52-b4bd-ab4e84cf51ba",
        "ada", "Ada Approver", "ada@example.com", "may approve",
    ),
    Person(
        "8c1d2e3f-4a5b-4c6d-8e7f-9a0b1c2d3e4f",
        "ben", "Ben Approver", "ben@example.com", "may approve",
    ),
    Person(
        "3e9b7a64-2c1f-4d85-b6a3-7f0e5d4c3b2a",
        "nora", "Nora Norights", "nora@example.com", "has no right to decide",
    ),
    Person(
        "a7d4c2b1-9f8e-4a6b-8c5d-1e2f3a4b5c6d",
        "rosa", "Rosa Requester", "rosa@example.com", "asks for operations",
    ),
    Person(
        "4d1f6a0e-7c0b-4a8e-9b1d-5c2f0b7a9e31",
        "gateway", "HITL Gateway", "gateway@example.com", "the owner of the gateway's API key",
    ),
)  # fmt: skip
GATEWAY = PEOPLE[4]

BOTS = (
    Bot(
        "6f2e1d0c-3b4a-4958-a7b6-c5d4e3f2a1b0",
        "bot", "GitHub", "github", "Integration", "an integration, no person",
    ),
    Bot(
        "1b2c3d4e-5f60-4718-92a3-b4c5d6e7f809",
        "app", "Release Helper", "oauthClient", "OauthClient", "an OAuth application, no person",
    ),
)  # fmt: skip

STATES = (
    State("11111111-1111-4111-8111-111111111111", "Backlog", "backlog", "#bec2c8"),
    State("c0a8e5b2-4f3d-4e19-8b7c-2d6f1a9e0c01", "Todo", "unstarted", "#8d95a3"),
    State("c0a8e5b2-4f3d-4e19-8b7c-2d6f1a9e0c02", "In Progress", "started", "#d29922"),
    State("c0a8e5b2-4f3d-4e19-8b7c-2d6f1a9e0c03", "In Review", "started", "#2f9e6e"),
    State("22222222-2222-4222-8222-222222222222", "Done", "completed", "#5e6ad2"),
    State("c0a8e5b2-4f3d-4e19-8b7c-2d6f1a9e0c05", "Approved", "completed", "#4453c4"),
    State("33333333-3333-4333-8333-333333333333", "Canceled", "canceled", "#95a2b3"),
    State("c0a8e5b2-4f3d-4e19-8b7c-2d6f1a9e0c07", "Rejected", "canceled", "#c4483f"),
    State("c0a8e5b2-4f3d-4e19-8b7c-2d6f1a9e0c08", "Duplicate", "duplicate", "#95a2b3"),
)
DEFAULT_STATE = STATES[1]

LABELS = (
    Label("44444444-4444-4444-8444-444444444444", "approval-required", "#eb5757"),
    Label("7e5d3c2b-1a09-4f8e-9d7c-6b5a4f3e2d01", "risk:low", "#4c9a6a"),
    Label("7e5d3c2b-1a09-4f8e-9d7c-6b5a4f3e2d02", "risk:medium", "#b8860b"),
    Label("7e5d3c2b-1a09-4f8e-9d7c-6b5a4f3e2d03", "risk:high", "#d2691e"),
    Label("7e5d3c2b-1a09-4f8e-9d7c-6b5a4f3e2d04", "risk:critical", "#b3261e"),
)

PRIORITIES = ("No priority", "Urgent", "High", "Medium", "Low")

Actor = Person | Bot | None

STATE_BY_ID = {state.id: state for state in STATES}
STATE_BY_NAME = {state.name.lower(): state for state in STATES}
LABEL_BY_ID = {label.id: label for label in LABELS}
PERSON_BY_ID = {person.id: person for person in PEOPLE}
BOT_BY_ID = {bot.id: bot for bot in BOTS}
ACTOR_BY_HANDLE: dict[str, Actor] = {
    **{person.handle: person for person in PEOPLE},
    **{bot.handle: bot for bot in BOTS},
    # Linear itself closes and archives issues; such changes name no actor at all.
    "nobody": None,
}


def actor_of(actor_id: str | None) -> Actor:
    """The person or bot of an id, or None."""
    if actor_id is None:
        return None
    return PERSON_BY_ID.get(actor_id) or BOT_BY_ID.get(actor_id)

"""Names that people see in Linear, resolved to the UUIDs that its API wants; cached by process."""

from collections.abc import Mapping
from functools import lru_cache

from approvals.core.events import ChannelError
from integrations.linear.client import LinearClient, linear
from integrations.linear.config import linear_config_path
from integrations.linear.issue import Person


class Directory:
    """Looks each name up once; ChannelError(permanent) names one that Linear cannot resolve.

    Nothing is remembered about a name that was not found, so a retry looks again.
    """

    def __init__(self, client: LinearClient) -> None:
        self._client = client
        self._viewer: Person | None = None
        self._teams: dict[str, tuple[str, Mapping[str, str]]] = {}
        self._labels: dict[str, str] = {}
        self._projects: dict[str, str] = {}

    def viewer_id(self, timeout_seconds: float | None = None) -> str:
        """The Linear user that the gateway acts as."""
        if self._viewer is None:
            self._viewer = self._client.viewer(timeout_seconds)
        return self._viewer.id

    def team_id(self, key: str) -> str:
        """The UUID of the team with this key."""
        return self._team(key)[0]

    def state_id(self, team: str, name: str) -> str:
        """The UUID of a team's state."""
        states = {known.casefold(): state_id for known, state_id in self._team(team)[1].items()}
        if name.casefold() not in states:
            raise _unknown(f"the state {name!r} in the team {team!r}")
        return states[name.casefold()]

    def label_ids(self, team: str, names: tuple[str, ...]) -> list[str]:
        """The UUIDs of labels that the team can use."""
        missing = [name for name in names if name not in self._labels]
        if missing:
            self._labels.update(self._client.labels(missing, self.team_id(team)))
        for name in names:
            if name not in self._labels:
                raise _unknown(f"the label {name!r} for the team {team!r}")
        return [self._labels[name] for name in names]

    def project_id(self, name: str) -> str:
        """The UUID of a project."""
        if name not in self._projects:
            found = self._client.projects(name)
            if not found:
                raise _unknown(f"the project {name!r}")
            if len(found) > 1:
                raise ChannelError(
                    f"Linear has more than one project named {name!r}: rename one there or choose"
                    f" another in {linear_config_path()}.",
                    permanent=True,
                )
            self._projects[name] = found[0]
        return self._projects[name]

    def forget(self) -> None:
        """Look names up again: something in Linear was renamed or deleted."""
        self._teams.clear()
        self._labels.clear()
        self._projects.clear()

    def _team(self, key: str) -> tuple[str, Mapping[str, str]]:
        if key not in self._teams:
            found = self._client.team(key)
            if found is None:
                raise _unknown(f"a team with the key {key!r}")
            self._teams[key] = found
        return self._teams[key]


@lru_cache(maxsize=4)
def _directory_of(client: LinearClient) -> Directory:
    return Directory(client)


def directory() -> Directory:
    """This process's directory of the Linear that the settings name."""
    return _directory_of(linear())


def _unknown(what: str) -> ChannelError:
    return ChannelError(
        f"Linear does not know {what}: create it there or correct {linear_config_path()}.",
        permanent=True,
    )

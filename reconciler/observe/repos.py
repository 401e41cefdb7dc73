"""The applied repos, one object for each agent, because the object remembers the tags that it read."""

from __future__ import annotations

from collections.abc import Mapping

from meta.applied.repo import Applied
from meta.layout import Layout
from meta.names import AgentName


class Repos:
    """The applied repos of one daemon. `git_environment` marks the git processes. `deadline` limits each git command,
    in seconds.
    """

    def __init__(self, layout: Layout, git_environment: Mapping[str, str], deadline: float) -> None:
        self._layout = layout
        self._environment = git_environment
        self._deadline = deadline
        self._known: dict[AgentName, Applied] = {}

    def __call__(self, agent: AgentName) -> Applied:
        """Return the agent's applied repo. It need not exist yet."""
        if agent not in self._known:
            self._known[agent] = Applied(
                self._layout, agent, git_environment=self._environment, deadline=self._deadline
            )
        return self._known[agent]

    def forget(self, agent: AgentName) -> None:
        """Drop what was read of a destroyed agent."""
        self._known.pop(agent, None)

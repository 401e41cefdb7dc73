"""A check that an agent's work tree and push repo are there, below `proposed/<n>`.

The check runs for every agent in each pass, so it calls lstat three times and builds no path twice. It looks for hive's
own files in the push repo again only after an entry of that folder was added, removed or renamed.
"""

from __future__ import annotations

import os
import stat
import time

from meta.layout import Layout
from meta.names import AgentName
from meta.proposed import push_repo

_SETTLED_NS = 50_000_000
"""Nanoseconds. A folder that changed more recently may change again and keep its change time."""


class ProposedRepos:
    """The proposed repos of all agents; one per daemon.

    With `given_away` a work tree counts only once it belongs to another user than hive (see `work_tree`).
    """

    def __init__(self, layout: Layout, *, given_away: bool = False) -> None:
        self._layout = layout
        self._given_away = given_away
        self._paths: dict[AgentName, tuple[str, str, str]] = {}
        self._complete: dict[AgentName, tuple[int, int]] = {}

    def present(self, agent: AgentName) -> bool:
        """Return True if the work tree and the push repo are complete, and real directories."""
        try:
            parent, tree, repo = map(os.lstat, self._paths.get(agent) or self._add_paths(agent))
        except OSError:
            return False
        if not all(stat.S_ISDIR(status.st_mode) for status in (parent, tree, repo)):
            return False
        if self._given_away and tree.st_uid == os.geteuid():
            return False
        stamp = (repo.st_ino, repo.st_ctime_ns)
        if self._complete.get(agent) != stamp:
            if not push_repo.present(self._layout, agent):
                return False
            if time.time_ns() - repo.st_ctime_ns > _SETTLED_NS:
                self._complete[agent] = stamp
        return True

    def _add_paths(self, agent: AgentName) -> tuple[str, str, str]:
        layout = self._layout
        parent, tree = str(layout.proposed(agent)), str(layout.proposed_config(agent))
        return self._paths.setdefault(agent, (parent, tree, str(push_repo.path_of(layout, agent))))

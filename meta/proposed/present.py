"""Whether what the host keeps for an agent below `proposed/<n>` is there: the work tree and the push repo.

Asked for every agent in each pass, so it costs three calls of lstat and no path is built twice. That the push repo
has hive's own files is looked at again only when something in its folder came, went or was renamed.
"""

from __future__ import annotations

import os
import stat
import time

from meta.layout import Layout
from meta.names import AgentName
from meta.proposed import push_repo

_SETTLED_NS = 50_000_000
"""A folder that changed more recently may change again within the clock's grain."""


class Furnished:
    """One per daemon. With `given_away` a work tree that still belongs to hive does not count (see work_tree)."""

    def __init__(self, layout: Layout, *, given_away: bool = False) -> None:
        self._layout = layout
        self._given_away = given_away
        self._places: dict[AgentName, tuple[str, str, str]] = {}
        self._whole: dict[AgentName, tuple[int, int]] = {}

    def __call__(self, agent: AgentName) -> bool:
        """Whether all of it is there, each a real directory."""
        parent, tree, repo = self._places.get(agent) or self._known(agent)
        try:
            above, edited, bare = os.lstat(parent), os.lstat(tree), os.lstat(repo)
        except OSError:
            return False
        if not (stat.S_ISDIR(above.st_mode) and stat.S_ISDIR(edited.st_mode) and stat.S_ISDIR(bare.st_mode)):
            return False
        if self._given_away and edited.st_uid == os.geteuid():
            return False
        stamp = (bare.st_ino, bare.st_ctime_ns)
        if self._whole.get(agent) != stamp:
            if not push_repo.present(self._layout, agent):
                return False
            if time.time_ns() - bare.st_ctime_ns > _SETTLED_NS:
                self._whole[agent] = stamp
        return True

    def _known(self, agent: AgentName) -> tuple[str, str, str]:
        layout = self._layout
        places = layout.proposed(agent), layout.proposed_config(agent), push_repo.path_of(layout, agent)
        parent, tree, repo = map(str, places)
        return self._places.setdefault(agent, (parent, tree, repo))

"""What root does before the daemon starts: give the repos of an older hive, which ran as root, to the daemon's user.

`hive-privileged take-over --state STATE --user hive`. It gives `applied`, `proposed` and `agents` themselves. Of each
agent with a repo in `applied` it gives that repo, the proposed work tree, and the directories that a migration renames
or writes to. What is in /state, home and login stays as it is: a container of the older hive wrote it as root.

Only what is root's is given. So a repetition changes nothing, the next run makes a kill good, and the daemon's user
cannot get a file of another user by it.
"""

from __future__ import annotations

import argparse
import os
import pwd
import stat
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from meta.errors import BadInput, HiveError, TransientError
from meta.names import AgentName, agent_name
from reconciler.privileged import trees
from reconciler.privileged.directories import inner, opened
from reconciler.privileged.journal import Journal

COMMAND = "take-over"
_APPLIED, _AGENTS, _PROPOSED = "applied", "agents", "proposed"
_Parts = tuple[str, ...]


def main(argv: Sequence[str], journal: Journal) -> int:
    """Give what is root's to the user. Return 0 even if something is left: the daemon then names its agent."""
    parser = argparse.ArgumentParser(prog=f"hive-privileged {COMMAND}", allow_abbrev=False)
    parser.add_argument("--state", type=Path, required=True, help="the daemon's state directory")
    parser.add_argument("--user", required=True, help="the daemon's user")
    options = parser.parse_args(argv)
    try:
        user = pwd.getpwnam(options.user)
    except KeyError:
        journal.write("cannot-start", error=f"there is no user {options.user}", hint="see --user")
        return 2
    TakeOver(options.state, (user.pw_uid, user.pw_gid), journal).run()
    return 0


class TakeOver:
    """One take-over of a state directory by `owner`, a uid and a gid."""

    def __init__(self, state: Path, owner: tuple[int, int], journal: Journal) -> None:
        self._state = state
        self._owner = owner
        self._journal = journal
        self._rules = trees.Rules(self._owners)

    def run(self) -> None:
        """Give everything. Log what was given and what is left, and raise nothing."""
        for folder in (_APPLIED, _PROPOSED, _AGENTS):
            self._attempt((folder,), self._give_top)
        for name in self._agents():
            self._attempt((_APPLIED, name), self._give_trees)
            for parts in ((_AGENTS, name), (_PROPOSED, name), (_AGENTS, name, "claude")):
                self._attempt(parts, self._give_top)
            if os.path.lexists(self._state / _AGENTS / name / "claude"):  # a migration moves it there
                self._attempt((_AGENTS, name, "home"), self._give_top)

    def _owners(self, uid: int, gid: int) -> tuple[int, int] | None:
        if uid == self._owner[0]:
            return uid, gid
        return self._owner if uid == 0 else None

    def _agents(self) -> list[AgentName]:
        names = []
        try:
            entries = sorted(entry.name for entry in (self._state / _APPLIED).iterdir())
        except OSError:  # there is none yet
            return []
        for entry in entries:
            try:
                names.append(agent_name(entry))
            except BadInput:
                continue  # the daemon warns of it
        return names

    def _attempt(self, parts: _Parts, act: Callable[[ExitStack, _Parts], bool]) -> None:
        """Act on `parts`, and log it if that changed something or failed."""
        path = str(self._state.joinpath(*parts))
        try:
            with ExitStack() as stack:
                if act(stack, parts):
                    self._journal.write("given", path=path, uid=self._owner[0])
        except HiveError as error:
            self._journal.write("left", path=path, error=error.summary, hint=error.hint)
        except OSError as error:
            self._journal.write("left", path=path, error=str(error), hint="")

    def _give_top(self, stack: ExitStack, parts: _Parts) -> bool:
        """Give a directory without its content. Return False if it is not root's, or missing."""
        fd = self._open(stack, parts)
        if fd is None or os.fstat(fd).st_uid != 0:
            return False
        os.fchown(fd, *self._owner)
        return True

    def _give_trees(self, stack: ExitStack, parts: _Parts) -> bool:
        """Give the repo of an agent and its proposed work tree with all in them. They may share objects by hard links.

        Return False if none of them is root's.
        """
        places, (_, name) = [], parts
        for place in (parts, (_PROPOSED, name, "config"), (_AGENTS, name, "config")):
            fd = self._open(stack, place)
            if fd is not None and os.fstat(fd).st_uid in (0, self._owner[0]):
                where = str(self._state.joinpath(*place))
                places.append(trees.Tree(fd, where, apart=place == parts))
        if all(os.fstat(tree.fd).st_uid != 0 for tree in places):
            return False
        trees.give(places, self._rules)
        return True

    def _open(self, stack: ExitStack, parts: _Parts) -> int | None:
        """Open a directory without following a link. Return None if it is missing, or is none."""
        fd, where = stack.enter_context(opened(self._state, None, str(self._state))), self._state
        for depth, part in enumerate(parts):
            where /= part
            try:
                if not stat.S_ISDIR(os.stat(part, dir_fd=fd, follow_symlinks=False).st_mode):
                    return None
            except FileNotFoundError:
                return None
            except OSError as error:
                raise TransientError(f"cannot look at {where}: {error.strerror}") from error
            # an operator may have mounted the first ones
            fd = stack.enter_context(inner(part, fd, str(where)) if depth else opened(part, fd, str(where)))
        return fd

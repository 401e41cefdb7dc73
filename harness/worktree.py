"""Commits in the proposed work trees (the manager's): git, and nothing that leaves the tree."""

from __future__ import annotations

from pathlib import Path

from meta.errors import BadInput, Conflict, NotFound
from meta.names import agent_name
from meta.process import Completed, run

_GIT_SECONDS = 30.0


class WorkTrees:
    """The work trees below `agents`; commits are in the name of `author`, git's own settings come from `home`."""

    def __init__(self, agents: Path, author: str, home: str) -> None:
        self._agents = agents
        email = f"{author}@hive.invalid"
        self._env = {
            "HOME": home,
            "GIT_AUTHOR_NAME": author,
            "GIT_AUTHOR_EMAIL": email,
            "GIT_COMMITTER_NAME": author,
            "GIT_COMMITTER_EMAIL": email,
            "GIT_TERMINAL_PROMPT": "0",
        }

    async def commit(self, agent: str, file: str, content: str, message: str) -> str:
        """Write `file` and commit it; the sha. Conflict when that changes nothing."""
        tree = self._tree(agent)
        path = _inside(tree, file)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode("utf-8"))
        except OSError as error:
            raise BadInput(f"{file} of {agent} cannot be written: {error.strerror}") from error
        await self._git(tree, "add", "--", file)
        staged = await self._git(tree, "diff", "--cached", "--quiet", "--", file, check=False)
        if staged.code == 0:
            raise Conflict(f"{file} of {agent} is like that already: nothing to commit")
        subject = message.replace("\0", "") or f"edit {file}"
        await self._git(tree, "commit", "--quiet", "--message", subject, "--", file)
        return await self.head(agent)

    async def head(self, agent: str) -> str:
        """The sha of HEAD."""
        return (await self._git(self._tree(agent), "rev-parse", "--verify", "HEAD^{commit}")).text

    def _tree(self, agent: str) -> Path:
        tree = self._agents / agent_name(agent) / "config"
        if not (tree / ".git").exists():
            raise NotFound(f"there is no work tree of {agent} at {tree}", "is that agent there? see `hive list`")
        return tree

    async def _git(self, tree: Path, *words: str, check: bool = True) -> Completed:
        settings = ("-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false", "-c", "core.fsmonitor=false")
        command = ("git", *settings, "-C", str(tree), *words)
        return await run(command, deadline=_GIT_SECONDS, env=self._env, check=check)


def _inside(tree: Path, file: str) -> Path:
    path = tree / file
    if not file or "\0" in file or not path.resolve().is_relative_to(tree.resolve()) or ".git" in Path(file).parts:
        raise BadInput(f"{file!r} is no file of the work tree", "give a path relative to it, like agent.toml")
    return path

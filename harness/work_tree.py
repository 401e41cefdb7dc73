"""Commits in a proposed work tree, made by the manager in its own container."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from meta.errors import BadInput, Conflict, NotFound
from meta.names import AgentName, Sha, agent_name, sha
from meta.process.run import Completed, run

GIT_SECONDS = 30.0


class WorkTree:
    """The work tree `<agents>/<name>/config`. Commits are by `author`."""

    def __init__(self, agents: Path, name: str, author: AgentName) -> None:
        """Raise BadInput for an invalid name, NotFound if there is no repo."""
        self.agent = agent_name(name)
        self.path = agents / self.agent / "config"
        self._author = author
        if not (self.path / ".git").exists():
            raise NotFound(f"{self.agent} has no proposed work tree at {self.path}", "check the agent's name")

    async def head(self) -> Sha:
        """Return the commit that is checked out."""
        return sha((await self._git("rev-parse", "--verify", "HEAD^{commit}")).text)

    async def commit(self, file: str, content: str, message: str) -> Sha:
        """Write one file and commit only that. Raise Conflict if it already has that content."""
        if "\0" in file + message:
            raise BadInput("a file name or message with a NUL byte cannot be committed", "leave it out")
        path = self._inside(file)
        try:
            data = content.encode()
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            with os.fdopen(descriptor, "wb") as target:
                target.write(data)
        except UnicodeEncodeError as error:
            raise BadInput(f"the content of {file[:100]!r} is no text", "send it as UTF-8") from error
        except OSError as error:
            raise BadInput(f"{file[:100]!r} cannot be written: {error.strerror}", "choose another path") from error
        await self._git("add", "--", file)
        if (await self._git("diff", "--cached", "--quiet", "--", file, check=False)).code == 0:
            raise Conflict(f"{file} of {self.agent} already has this content", "there is nothing to commit")
        await self._git("commit", "--quiet", "-m", message, "--", file)
        return await self.head()

    def _inside(self, file: str) -> Path:
        parts = PurePosixPath(file).parts
        root = self.path.resolve()
        path = root.joinpath(*parts)
        wrong = not parts or PurePosixPath(file).is_absolute() or ".." in parts or ".git" in map(str.lower, parts)
        if wrong or path.is_symlink() or path.is_dir() or not path.parent.resolve().is_relative_to(root):
            raise BadInput(f"{file[:100]!r} is no file in the work tree of {self.agent}", "give a path like agent.toml")
        return path

    async def _git(self, *words: str, check: bool = True) -> Completed:
        options = ("-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false", "--literal-pathspecs")
        return await run(
            ["git", "-C", self.path, *options, *words], deadline=GIT_SECONDS, env=self._environment(), check=check
        )

    def _environment(self) -> dict[str, str]:
        email = f"{self._author}@hive.invalid"
        return {
            "GIT_AUTHOR_NAME": self._author,
            "GIT_AUTHOR_EMAIL": email,
            "GIT_COMMITTER_NAME": self._author,
            "GIT_COMMITTER_EMAIL": email,
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
        }

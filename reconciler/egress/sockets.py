"""One listening socket per agent, `DIR/<agent>/egress.sock`: the socket says who asks."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from meta.names import AgentName
from reconciler.egress.limits import ACCEPTS_AT_ONCE, ACCEPTS_PER_SECOND, Rate

SOCKET = "egress.sock"
_NEW = ".egress.sock.new"
_BACKLOG = 512
_ACCEPTED_AT_ONCE = 32
_PAUSE = 0.5
"""Seconds without accepting, when the host has no file descriptor or memory left."""
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Accept = Callable[[AgentName, socket.socket], None]


@dataclass(frozen=True, slots=True)
class _Bound:
    listener: socket.socket
    identity: tuple[int, int]
    rate: Rate = field(default_factory=lambda: Rate(ACCEPTS_PER_SECOND, ACCEPTS_AT_ONCE, time.monotonic()))


class AgentSockets:
    """The sockets of the policy's agents. A directory that came again, and a socket that is gone, are bound anew.

    The directories are made by others, and only the agent's group may enter one; so the sockets themselves are open.
    """

    def __init__(self, folder: Path, accept: Accept) -> None:
        self._folder = folder
        self._accept = accept
        self._bound: dict[AgentName, _Bound] = {}
        self.problems: dict[AgentName, str] = {}

    def serve(self, agents: Collection[AgentName]) -> bool:
        """Bind what these agents lack, and remove the sockets of all others. Return True if something changed."""
        before = dict(self.problems), dict(self._bound)
        for agent in self._bound.keys() - set(agents):
            self._remove(agent)
        self.problems = {agent: text for agent, text in self.problems.items() if agent in agents}
        for agent in agents:
            try:
                self._serve(agent)
            except OSError as error:
                self._stop(agent)
                self.problems[agent] = _explain(self._folder / agent, error)
            else:
                self.problems.pop(agent, None)
        return before != (self.problems, self._bound)

    def close(self) -> None:
        """Remove all sockets."""
        for agent in list(self._bound):
            self._remove(agent)

    def _serve(self, agent: AgentName) -> None:
        folder = os.open(self._folder / agent, _FOLDER)
        try:
            bound = self._bound.get(agent)
            if bound is not None and bound.identity == _identity(folder):
                return
            self._stop(agent)
            self._bind(agent, folder)
        finally:
            os.close(folder)

    def _bind(self, agent: AgentName, folder: int) -> None:
        """Bind by way of the open directory: a long path is fine, and no link is followed."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_NEW, dir_fd=folder)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            listener.bind(f"/proc/self/fd/{folder}/{_NEW}")
            os.chmod(_NEW, 0o666, dir_fd=folder)  # noqa: S103  # only the agent's group may enter the directory
            listener.listen(_BACKLOG)
            os.rename(_NEW, SOCKET, src_dir_fd=folder, dst_dir_fd=folder)
            identity = _identity(folder)
        except BaseException:
            listener.close()
            raise
        if identity is None:
            listener.close()
            raise FileNotFoundError(errno.ENOENT, "the socket went as it was made")
        self._bound[agent] = _Bound(listener, identity)
        self._listen(agent, listener)

    def _listen(self, agent: AgentName, listener: socket.socket) -> None:
        bound = self._bound.get(agent)
        if bound is not None and bound.listener is listener:
            asyncio.get_running_loop().add_reader(listener, self._take, agent, listener)

    def _take(self, agent: AgentName, listener: socket.socket) -> None:
        bound = self._bound[agent]
        for _ in range(_ACCEPTED_AT_ONCE):
            if seconds := bound.rate.take(time.monotonic()):
                self._wait(agent, listener, seconds)
                return
            try:
                client, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._wait(agent, listener, _PAUSE)
                return
            client.setblocking(False)
            self._accept(agent, client)

    def _wait(self, agent: AgentName, listener: socket.socket, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        loop.call_later(seconds, self._listen, agent, listener)

    def _stop(self, agent: AgentName) -> None:
        if bound := self._bound.pop(agent, None):
            asyncio.get_running_loop().remove_reader(bound.listener)
            bound.listener.close()

    def _remove(self, agent: AgentName) -> None:
        bound = self._bound.get(agent)
        self._stop(agent)
        with contextlib.suppress(OSError):
            folder = os.open(self._folder / agent, _FOLDER)
            try:
                if bound is not None and bound.identity == _identity(folder):
                    os.unlink(SOCKET, dir_fd=folder)
            finally:
                os.close(folder)


def _identity(folder: int) -> tuple[int, int] | None:
    try:
        status = os.stat(SOCKET, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _explain(folder: Path, error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return f"{folder} is not there: it is made when the agent starts"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{folder} is closed to hive-egress: it must be able to write there"
    return f"no socket in {folder}: {error.strerror}"

"""What a harness tells its keeper: which of the processes that it started are sub-agents.

A message is a number and a start time, on a socket that no program but a harness gets. So a process that a CLI started
is no sub-agent, whatever its environment says.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping

from harness.descendants import orphans
from harness.keeper.wanted import VARIABLE
from harness.process_table import end_with_parent, read_row


class Keeper:
    """The harness's end. There is one in a process: `keeper`. Without a keeper it does nothing but spare."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def join(self, variables: MutableMapping[str, str], *, main: bool = False) -> None:
        """Take the socket that the environment names, and the variable out of it, so that no CLI gets either.

        `main`: the keeper is the parent of this process, which ends with it. Raise SystemExit if it has ended already.
        """
        text = variables.pop(VARIABLE, "")
        if not text.isdecimal():
            return
        with contextlib.suppress(OSError):
            self._socket = socket.socket(fileno=int(text))
            self._socket.set_inheritable(False)
            self._socket.setblocking(False)
        if main:
            self._end_with_keeper()

    def _end_with_keeper(self) -> None:
        with contextlib.suppress(OSError):
            end_with_parent()
        with contextlib.suppress(BlockingIOError):  # it never writes
            if self._socket is not None and not self._socket.recv(1, socket.MSG_PEEK):
                raise SystemExit("the keeper has ended")

    @property
    def fds(self) -> tuple[int, ...]:
        """Return the descriptors that a sub-agent inherits, so that it can report its own sub-agents."""
        return () if self._socket is None else (self._socket.fileno(),)

    @property
    def variables(self) -> dict[str, str]:
        """Return the variables that a sub-agent needs for that."""
        return {} if self._socket is None else {VARIABLE: str(self._socket.fileno())}

    def keep(self, pid: int) -> bool:
        """Let a sub-agent live on that this process has just started and not reaped.

        It is no leftover of a CLI from now on, and outlives a crash of this process. Return False for the latter if the
        keeper does not know it.
        """
        orphans.spare(pid)
        row = read_row(pid)
        if self._socket is None or row is None:
            return False
        try:
            self._socket.send(b"%d %d" % (pid, row.process.started))
        except OSError:  # the keeper ended, or does not read
            return False
        return True

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


keeper = Keeper()


def join_keeper(*, main: bool) -> None:
    """Join the keeper of this process's environment."""
    keeper.join(os.environ, main=main)

"""Count the unlinked files that processes hold open or mapped on one file system. `du` finds none of them.

    python -I -S unlinked.py DEVICE PID...

A script that imports only the standard library and nothing of hive: the daemon runs it as a process of its own with a
deadline, because an agent may open very many files. DEVICE is the `st_dev` of the file system. For each PID, the main
process of an agent, it prints a line: PID, bytes, files, and 1 if all its processes were looked at, otherwise 0.
"""

from __future__ import annotations

import os
import stat
import sys

MOST = 50_000
"""Descriptors and mappings of one agent that are looked at. If it has more, its count is incomplete."""
SUPERVISOR = b"/supervisor.py\0"
"""The parent of a local agent's main process. A child that lost its parent becomes a child of it."""


class Agent:
    """What was counted of one agent. `files` maps an inode to its bytes."""

    def __init__(self, device: int) -> None:
        self.device = device
        self.files: dict[int, int] = {}
        self.looks = 0
        self.complete = True

    def look(self, pid: int) -> None:
        """Count what the process holds. A process that ended holds nothing."""
        for count in (self._opened, self._mapped):
            try:
                count(f"/proc/{pid}")
            except (FileNotFoundError, ProcessLookupError):
                return
            except OSError:
                self.complete = False

    def _opened(self, process: str) -> None:
        with os.scandir(f"{process}/fd") as entries:
            for entry in entries:
                if not self._may_look():
                    return
                self._count(entry.path)

    def _mapped(self, process: str) -> None:
        """Count files that are mapped, though perhaps not open. Only root may ask for their blocks."""
        lengths: dict[int, int] = {}
        with open(f"{process}/maps", "rb") as lines:  # noqa: PTH123 - imports less
            for line in lines:
                if not line.endswith(b" (deleted)\n"):
                    continue
                if not self._may_look():
                    return
                span, _, _, device, inode, _ = line.split(None, 5)
                try:
                    self._count(f"{process}/map_files/{span.decode('ascii')}")
                except PermissionError:
                    if _is_device(device, self.device):
                        begin, end = (int(each, 16) for each in span.split(b"-"))
                        lengths[int(inode)] = lengths.get(int(inode), 0) + end - begin
        for number, length in lengths.items():
            self.files.setdefault(number, length)

    def _may_look(self) -> bool:
        self.looks += 1
        self.complete = self.complete and self.looks <= MOST
        return self.looks <= MOST

    def _count(self, path: str) -> None:
        try:
            status = os.stat(path)  # noqa: PTH116 - a pathlib object costs more than the call
        except FileNotFoundError:  # closed meanwhile
            return
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 0 and status.st_dev == self.device:
            self.files[status.st_ino] = status.st_blocks * 512


def _is_device(written: bytes, device: int) -> bool:
    major, minor = (int(each, 16) for each in written.split(b":"))
    return os.makedev(major, minor) == device


def children() -> dict[int, list[int]]:
    """Return the children of every process."""
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - imports less
        if name.isdecimal() and (parent := parent_of(int(name))) is not None:
            found.setdefault(parent, []).append(int(name))
    return found


def parent_of(pid: int) -> int | None:
    """Return the parent of a process; None if it ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError):
        return None


def top_of(pid: int) -> int:
    """Return the process below which all processes of the agent are."""
    parent = parent_of(pid)
    try:
        with open(f"/proc/{parent}/cmdline", "rb") as file:  # noqa: PTH123
            return parent if parent and SUPERVISOR in file.read(4096) else pid
    except OSError:
        return pid


def main(device: int, pids: list[int]) -> None:
    """Print a line for each agent."""
    below = children()
    for pid in pids:
        agent, waiting = Agent(device), [top_of(pid)]
        while waiting:
            process = waiting.pop()
            agent.look(process)
            waiting += below.get(process, [])
        print(pid, sum(agent.files.values()), len(agent.files), int(agent.complete), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(pid) for pid in sys.argv[2:]])

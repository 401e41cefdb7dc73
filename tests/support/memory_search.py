"""Where a secret is in what an agent has: environment, command lines and memory of its processes, and its files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

CHUNK = 2**20


def descendants(outermost: int) -> list[int]:
    """Return a process with all below it."""
    pids = [outermost]
    for pid in pids:
        with contextlib.suppress(OSError):  # it may end meanwhile
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                pids += map(int, children.read_text(encoding="ascii").split())
    return pids


def in_processes(pids: Iterable[int], secret: bytes) -> list[str]:
    """Return the places in environment, command line and resident memory of these processes."""
    places = []
    for pid in pids:
        with contextlib.suppress(OSError):
            places += [
                f"{name} of {pid}"
                for name in ("environ", "cmdline")
                if secret in Path(f"/proc/{pid}/{name}").read_bytes()
            ]
        places += [f"memory of {pid} at {start:x}" for start in _in_memory(pid, secret)]
    return places


def in_files(folders: Iterable[Path], secret: bytes) -> list[str]:
    """Return the files below some folders that have it."""
    places = []
    for folder in folders:
        for top, _, names in os.walk(folder):
            for path in (Path(top, name) for name in names):
                with contextlib.suppress(OSError):
                    if path.is_file() and not path.is_symlink() and secret in path.read_bytes():
                        places.append(str(path))
    return places


def _in_memory(pid: int, secret: bytes) -> Iterator[int]:
    """Yield the starts of the mappings that have it. Those with nothing resident are passed over: some are endless."""
    try:
        regions = list(_resident(pid))
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    except OSError:
        return
    try:
        for start, end in regions:
            if _has(memory, start, end, secret):
                yield start
    finally:
        os.close(memory)


def _resident(pid: int) -> Iterator[tuple[int, int]]:
    region: tuple[int, int] | None = None
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            start, _, end = words[0].partition("-")
            # a file is the same for all: the secret is in no program
            private = words[1].startswith("r") and words[4] == "0"
            region = (int(start, 16), int(end, 16)) if private else None
        elif words[0] == "Rss:" and region is not None and words[1] != "0":
            yield region


def _has(memory: int, start: int, end: int, secret: bytes) -> bool:
    tail = b""
    for at in range(start, end, CHUNK):
        try:
            data = tail + os.pread(memory, min(CHUNK, end - at), at)
        except OSError:
            return False
        if secret in data:
            return True
        tail = data[-len(secret) :]
    return False

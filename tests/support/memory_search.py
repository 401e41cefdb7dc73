"""Where a secret is in what an agent has: environment, command lines and memory of its processes, and its files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

CHUNK = 2**20
PAGE = os.sysconf("SC_PAGE_SIZE")
BLOCK = 2**16
"""Pages whose entries are read at once."""


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
    """Yield the addresses of the blocks that have it, of what is in memory and in no file."""
    try:
        regions = list(_regions(pid))
        memory, pages = (os.open(f"/proc/{pid}/{name}", os.O_RDONLY) for name in ("mem", "pagemap"))
    except OSError:
        return
    try:
        for start, end in regions:
            for first, last in _present(pages, start, end):
                if _has(memory, first, last, secret):
                    yield first
    finally:
        os.close(memory)
        os.close(pages)


def _regions(pid: int) -> Iterator[tuple[int, int]]:
    for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        start, _, end = words[0].partition("-")
        if words[1].startswith("rw") and int(end, 16) < 2**63:
            yield int(start, 16), int(end, 16)


def _present(pages: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the runs of pages that are in memory or swapped out: a runtime maps far more than it uses."""
    run: int | None = None
    for at in range(start, end, BLOCK * PAGE):
        count = min(BLOCK, (end - at) // PAGE)
        data = os.pread(pages, count * 8, at // PAGE * 8)
        if run is None and not data.strip(b"\0"):
            continue
        for number, entry in enumerate(memoryview(data).cast("Q")):
            there, address = bool(entry >> 62), at + number * PAGE
            if there and run is None:
                run = address
            elif not there and run is not None:
                yield run, address
                run = None
    if run is not None:
        yield run, end


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

"""hive's revision: a build records it, and an agent that another revision built is outdated.

An installed version alone does not change with `git pull`, so the content of hive's files counts.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

HOME = Path(__file__).parents[2]
PACKAGES = ("harness", "meta", "reconciler")
"""The packages that run in containers, and those that make the containers."""
DIGITS = 12


def revision() -> str:
    """Return hive's revision: HIVE_REVISION (set by the package), else `<version>+<12 hex digits of its files>`."""
    return os.environ.get("HIVE_REVISION") or _installed()


def differs(revision_of_daemon: str) -> str:
    """Return the revision of these files if the daemon has another, "" if it has the same.

    The version is not compared: reading it takes as long as everything else in the CLI.
    """
    here = os.environ.get("HIVE_REVISION")
    if here is None:
        version, plus, _ = revision_of_daemon.partition("+")
        here = f"{version}+{fingerprint(HOME)}" if plus else ""
    return "" if here == revision_of_daemon else here


@cache
def _installed() -> str:
    """Return the revision at the start of this process.

    A later change of the checkout counts from the next start on.
    """
    return f"{metadata.version('hive')}+{fingerprint(HOME)}"


def fingerprint(home: Path) -> str:
    """Return a hash of the names and contents of the packages' files below `home`, without compiled ones."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in _files(f"{home}/{package}"):
            with open(path, "rb") as file:  # noqa: PTH123 - hundreds of them at every start
                content = file.read()
            digest.update(f"{path[len(str(home)) :]}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()[:DIGITS]


def _files(folder: str) -> Iterator[str]:
    """Return every source file, in the same order on every file system."""
    with os.scandir(folder) as entries:
        sorted_entries = sorted(entries, key=lambda entry: entry.name)
    for entry in sorted_entries:
        if entry.name == "__pycache__" or entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
        elif entry.is_file() and not entry.name.endswith((".pyc", ".pyo")):
            yield entry.path

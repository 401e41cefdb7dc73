"""Which hive this is: what a build records, and by what an agent is found to have been built by another one.

An installed version alone does not change with `git pull`, so what counts is what hive's files say.
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
"""What runs in containers, and what makes them."""
DIGITS = 12


def revision() -> str:
    """hive's own revision: HIVE_REVISION (set by the package), else `<version>+<12 hex digits of its files>`."""
    return os.environ.get("HIVE_REVISION") or _installed()


@cache
def _installed() -> str:
    """As this process began; a checkout that changes under a running daemon counts from its next start on."""
    return f"{metadata.version('hive')}+{fingerprint(HOME)}"


def fingerprint(home: Path) -> str:
    """Names and contents of the packages' files below `home`, without what Python makes of them."""
    told = hashlib.sha256()
    for package in PACKAGES:
        for path in _files(f"{home}/{package}"):
            with open(path, "rb") as file:  # noqa: PTH123 - hundreds of them at every start
                content = file.read()
            told.update(f"{path[len(str(home)) :]}\0{len(content)}\0".encode())
            told.update(content)
    return told.hexdigest()[:DIGITS]


def _files(folder: str) -> Iterator[str]:
    """Every source file, in an order that no file system decides."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.name == "__pycache__" or entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
        elif entry.is_file() and not entry.name.endswith((".pyc", ".pyo")):
            yield entry.path

"""Systems for the containers of the host: a directory of the store with an `init` that boots a real systemd."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from tests.support.systemd.host import FILES, HOME

_LETTERS = "0123456789abcdfghijklmnpqrsvwxyz"


def make_system(agent: str, command: str, files: dict[str, str]) -> Path:
    """Make a system that runs `command` (`@system@` in it is its path) with `files` in it.

    The same arguments give the same system.
    """
    digest = hashlib.sha256(repr((agent, command, sorted(files.items()))).encode()).digest()
    name = "".join(_LETTERS[byte % 32] for byte in digest)
    path = HOME / "store" / f"{name}-nixos-system-{agent}"
    if path.exists():
        return path
    fresh = path.with_name(f".{path.name}")
    fresh.mkdir()
    for key, text in files.items():
        (fresh / key).parent.mkdir(parents=True, exist_ok=True)
        (fresh / key).write_text(text)
    shutil.copy(FILES / "system-init", fresh / "init")
    unit = (FILES / "hive-harness.service").read_text()
    for key, value in (("@command@", command), ("@agent@", agent), ("@system@", str(path))):
        unit = unit.replace(key, value)
    (fresh / "hive-harness.service").write_text(unit)
    return fresh.rename(path)

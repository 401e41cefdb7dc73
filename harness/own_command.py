"""The words by which a shell in this container runs `hive-harness`."""

from __future__ import annotations

import sys
from pathlib import Path

_PROGRAM = "hive-harness"


def own_command() -> tuple[str, ...]:
    """Return the words."""
    program = Path(sys.argv[0])
    installed = _PROGRAM in program.name  # nix has a wrapper of that name, which runs .hive-harness-wrapped
    return (str(program.with_name(_PROGRAM)),) if installed else (sys.executable, "-P", "-m", "harness.cli")

"""The instructions that a CLI reads from its folder of work, as far as the model may not get them as they are."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

FILES: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "claude": ("CLAUDE.md", 40_000),
        "claude-acp": ("CLAUDE.md", 40_000),
        "codex": ("AGENTS.md", 32_768),
        "gemini": ("GEMINI.md", 40_000),
        "opencode": ("AGENTS.md", 40_000),
    }
)
"""The file of a runtime, and the bytes after which the CLI warns (claude) or cuts it off (codex)."""


def instructions_problem(work: Path, runtime: str) -> str:
    """Return what is wrong with the instructions in `work`, "" if nothing is. The agent can write there."""
    if runtime not in FILES:
        return ""
    name, limit = FILES[runtime]
    try:
        descriptor = os.open(work / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    except PermissionError:  # of the CLI's own uid
        return ""
    except OSError as error:
        return f"{name} in the folder of work cannot be read: {error.strerror}"
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return f"{name} in the folder of work is no file"
        if status.st_size > limit:
            return f"{name} in the folder of work has {status.st_size} bytes: of more than {limit} a part may be lost"
        try:
            file.read(limit).decode()
        except UnicodeDecodeError as error:
            return f"{name} in the folder of work is not UTF-8 at byte {error.start}"
    return ""

"""The folder of `hive-egress`: its lock, and the counters, which survive a restart."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meta import own_file
from meta.errors import BadInput, Damaged, Refused

LOCK = "lock"
COUNTERS = "counters.json"
_COUNTERS_LIMIT = 256 * 2**20


def lock_state(state: Path) -> int:
    """Make the folder if it is missing, and lock it. Return the lock's descriptor. Raise Refused or BadInput."""
    try:
        state.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(state / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise BadInput(f"--state {state} cannot be used: {error.strerror}", "it is hive-egress's own folder") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise Refused(f"another hive-egress uses {state}", "end it first, or choose another --state") from error
    for left in state.glob(".*.json.*"):  # by a process that died as it wrote
        left.unlink(missing_ok=True)
    return descriptor


def load_counters(state: Path) -> tuple[dict[str, Mapping[str, Any]], str]:
    """Return the kept counters by agent, and what is wrong with the file. A damaged one counts as none."""
    path = state / COUNTERS
    try:
        document = json.loads(own_file.read(path, _COUNTERS_LIMIT, hint=""))
        agents = document["agents"]
        return {str(name): row for name, row in agents.items() if isinstance(row, dict)}, ""
    except FileNotFoundError:
        return {}, ""
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError, Damaged, OSError):
        return {}, f"{path} cannot be read: the counters begin anew"


def save_counters(state: Path, agents: Mapping[str, Mapping[str, object]]) -> str:
    """Keep the counters. Return what is wrong, "" if nothing is."""
    try:
        own_file.write(
            state / COUNTERS, json.dumps({"agents": agents}, separators=(",", ":")).encode() + b"\n", mode=0o600
        )
    except OSError as error:
        return f"the counters cannot be kept in {state}: {error.strerror}"
    return ""

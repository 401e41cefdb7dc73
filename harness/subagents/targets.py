"""Where the targets of a scope lead, looked at under the uid of the CLI: what is its alone the harness may not see.

What happens to a path after this look the kernel refuses: each start of a CLI looks again (harness.scope.bounds).
"""

from __future__ import annotations

import asyncio
import json
import os
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.child import STARTER, start_look
from meta.errors import BadInput, HiveError, TransientError
from meta.scope.paths import PATH_LIMIT, canonical, check_target

SECONDS = 20.0
"""Seconds until the answer is there: systemd starts a program for it first."""
LINE_BYTES = 4 * 2**20
"""Bytes of the answer: 100 paths have at most 2.5 MB as ASCII."""
TEXT_LIMIT = 1_000
"""Characters of a reason."""

Json = dict[str, Any]


class Target(NamedTuple):
    """Where a target leads: a canonical path, and whether a folder is there."""

    path: str
    is_folder: bool


async def find_targets(targets: Sequence[str], base: Path) -> tuple[Target, ...]:
    """Return where the targets lead; a relative one is below `base`.

    Raise BadInput with the reason for one that cannot be a target of this CLI, TransientError without an answer.
    """
    for target in targets:
        check_target(target)
    if os.environ.get(STARTER):
        answer = await _ask(targets, base)
    else:
        answer = await asyncio.to_thread(look_at, targets, str(base))
    return tuple(_checked(each) for each in answer)


def look_at(targets: Sequence[str], base: str) -> list[Json]:
    """Return for each target {"path", "folder"}, or {"refused", "hint"}. It follows links, with the rights of here."""
    return [_seen(target, base) for target in targets]


def write_targets(targets: Sequence[str], base: str, stream: int) -> None:
    """Write what `look_at` returns to a descriptor, as one line."""
    with open(stream, "wb", closefd=False) as file:
        file.write(json.dumps(look_at(targets, base)).encode("ascii") + b"\n")


def _seen(target: str, base: str) -> Json:
    try:
        path = canonical(target, base)
    except HiveError as error:
        return {"refused": error.summary[:TEXT_LIMIT], "hint": (error.hint or "")[:TEXT_LIMIT]}
    return {"path": path, "folder": os.path.isdir(path)}  # noqa: PTH112 - as text


async def _ask(targets: Sequence[str], base: Path) -> Sequence[object]:
    """Have the starter look. What it says is the agent's own claim: it has the CLI's uid."""
    child = await start_look(targets, base)
    try:
        async with asyncio.timeout(SECONDS):
            line = await child.line()
        if line is None or line.dropped or len(line.data) > LINE_BYTES:
            raise _no_answer()
        answer = await asyncio.to_thread(json.loads, line.data)
    except (TimeoutError, ValueError, RecursionError) as error:
        raise _no_answer() from error
    finally:
        await child.end()
    if not isinstance(answer, list) or len(answer) != len(targets):
        raise _no_answer()
    return answer


def _no_answer() -> TransientError:
    return TransientError("the targets of the scope could not be looked at under the agent's uid", "try again")


def _checked(answer: object) -> Target:
    if not isinstance(answer, Mapping):
        raise _no_answer()
    if "refused" in answer:
        raise BadInput(str(answer["refused"])[:TEXT_LIMIT], str(answer.get("hint", ""))[:TEXT_LIMIT])
    path = answer.get("path")
    if not isinstance(path, str) or len(path) > PATH_LIMIT or path != posixpath.normpath(path) or path[:1] != "/":
        raise _no_answer()
    return Target(check_target(path), answer.get("folder") is True)

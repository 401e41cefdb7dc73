"""Translate the messages of git into hive's errors. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from meta.errors import Conflict, Damaged, DiskFull, HiveError, NotFound, PermanentError, TransientError

_LOCKED = re.compile(r"Unable to create '[^'\n]*\.lock'|another git process", re.IGNORECASE)
_FULL = re.compile(r"No space left|Disk quota")
_PASSING = re.compile(r"Input/output error|Read-only file system|Cannot allocate|File too large")
_NO_DESCRIPTOR = re.compile(r"Too many open files")
_BROKEN = re.compile(
    r"loose object [^\n]* is corrupt|object file [^\n]* is empty|reference broken|inflate: data"
    r"|packfile [^\n]* (?:cannot|does not)|(?:unexpected|unterminated) line in [^\n]*packed-refs|hash mismatch"
    r"|not a git repository|bad config|missing (?:blob|tree|commit) object|unable to read (?:tree|sha1 file)"
    r"|index file [^\n]* is"
)
_LOST = re.compile(r"reference already exists|but expected|unable to resolve reference|reference is missing")
_MISSING = re.compile(
    r"[Nn]ot a valid object|bad object|bad revision|unknown revision|ambiguous argument|Needed a single revision"
    r"|Not a valid commit|invalid object|could not get object info|does not exist in|but not in"
)


def failure(git_dir: Path, argv: Sequence[str], stderr: str) -> HiveError:
    """Return the error for a git command that failed with `stderr`."""
    lines = [line for line in stderr.strip().splitlines() if line] or ["no message"]
    complaint = next((line for line in lines if line.startswith(("fatal: ", "error: "))), lines[-1])
    summary = f"git {argv[0]} in {git_dir}: {complaint[:300]}"
    if stderr.startswith("Timeout:"):
        return TransientError(f"git {argv[0]} in {git_dir} passed its deadline", "is the disk very slow?")
    if _LOCKED.search(stderr):
        return TransientError(summary, "another git works there; hive tries again")
    if _FULL.search(stderr):
        return DiskFull(
            summary, "free some space (`hive status` names who holds the most); hive then continues by itself"
        )
    if _NO_DESCRIPTOR.search(stderr):
        return TransientError(summary, "hive continues by itself once connections are closed; see `hive doctor`")
    if _PASSING.search(stderr):
        return TransientError(summary, "free some space or repair the disk; hive then continues by itself")
    if _BROKEN.search(stderr):
        named = next((line for line in lines if "object" in line), complaint)
        return Damaged(git_dir, named[:300])
    if _LOST.search(stderr):
        return Conflict(summary, "another change was first: look again")
    if _MISSING.search(stderr):
        return NotFound(summary, "was the repo restored from an old backup?")
    return PermanentError(summary, "see `git fsck` in that repo")

"""Changes of refs, as `git update-ref --stdin` reads them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from meta.errors import BadInput
from meta.names import Sha

ABSENT = Sha("0" * 40)
"""The value of a ref that does not exist."""

_REF = re.compile(r"refs/[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)+")


@dataclass(frozen=True, slots=True)
class RefChange:
    """One line of a ref transaction.

    With `new` None only `old` is verified. With `new` ABSENT the ref is deleted. With `old` ABSENT the ref must not
    exist. With `old` None every present value is accepted.
    """

    ref: str
    new: Sha | None = None
    old: Sha | None = None


def command(change: RefChange) -> str:
    """Return the command of `git update-ref --stdin`. Raise BadInput for a name that is not one of hive's refs."""
    if not _REF.fullmatch(change.ref):
        raise BadInput(f"{change.ref[:80]!r} is not a ref of hive", "report this as a bug of hive")
    if change.new is None:
        return f"verify {change.ref} {change.old or ABSENT}"
    if change.new == ABSENT:
        return f"delete {change.ref}" + (f" {change.old}" if change.old else "")
    if change.old == ABSENT:
        return f"create {change.ref} {change.new}"
    return f"update {change.ref} {change.new}" + (f" {change.old}" if change.old else "")

"""Canonical paths: absolute, every link followed. A rule is compared as text only after this.

A path need not exist: the links of its nearest existing folder are followed, and the rest is joined to it. A link that
points to nothing counts as where it points, because a write through it creates that.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable

from meta.errors import BadInput
from meta.scope.rules import Rule, Scope
from meta.wire.pod import ScopeRule

PATH_LIMIT = 4095
"""Bytes of a path: the kernel's own limit without the NUL."""
RULES_LIMIT = 100
"""Rules of a scope that somebody sends, allow and deny together."""

_SHOWN = 200


def canonical(target: str, base: str | None = None) -> str:
    """Return the canonical path of a target. A relative one is below the absolute folder `base`.

    Raise BadInput for an empty path, one with `..` or NUL, one that is not UTF-8 or too long, a relative one without a
    base, a circle of links, or one whose links cannot be read.
    """
    check_target(target)
    path = target
    if not posixpath.isabs(target):
        if base is None:
            raise _wrong(target, "it is relative", "give an absolute path")
        path = posixpath.join(base, target)
        check_target(path)
        if not posixpath.isabs(path):
            raise _wrong(base, "it is relative, so nothing can be below it", "give an absolute path")
    try:
        os.stat(path)  # noqa: PTH116 - a Path would drop the NUL check and the form of the text
    except (FileNotFoundError, NotADirectoryError):
        pass  # the tail is missing; everything before it was readable
    except OSError as error:
        raise _wrong(target, error.strerror or str(error), "give a path whose folders can be read") from error
    resolved = os.path.realpath(path)
    if resolved.startswith("//"):
        resolved = resolved[1:]
    check_target(resolved)
    return resolved


def is_moved(target: str) -> bool:
    """Return True if a canonical path is none any more: a part of it has become a link, or cannot be read.

    For the moment of use, after a check of long ago. What happens after this call only the kernel can refuse.
    """
    try:
        return canonical(target) != target
    except BadInput:
        return True


def canonical_rule(rule: ScopeRule, base: str | None = None) -> Rule:
    """Return a rule of the wire with its canonical target. Raise BadInput."""
    return Rule(canonical(rule.target, base), rule.permission, rule.recursive)


def canonical_scope(allow: Iterable[ScopeRule], deny: Iterable[ScopeRule] = (), base: str | None = None) -> Scope:
    """Return the scope of rules as somebody sends them. Raise BadInput, also for more than RULES_LIMIT of them."""
    allowed, denied = list(allow), list(deny)
    if len(allowed) + len(denied) > RULES_LIMIT:
        raise BadInput(f"{len(allowed) + len(denied)} rules are too many", f"give at most {RULES_LIMIT}")
    return Scope(
        tuple(canonical_rule(rule, base) for rule in allowed), tuple(canonical_rule(rule, base) for rule in denied)
    )


def check_target(path: str) -> str:
    """Return the text of a path. Raise BadInput for one that no path of a scope has, wherever it leads."""
    if not path:
        raise _wrong(path, "it is empty", "name a folder or a file")
    if "\0" in path:
        raise _wrong(path, "it contains a NUL", "no path has one")
    if ".." in path.split("/"):
        raise _wrong(path, "it contains '..'", "write the path without '..'")
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise _wrong(path, "it is not UTF-8", "rename the file or choose a folder above it") from None
    if size > PATH_LIMIT:
        raise _wrong(path, f"it has {size} bytes", f"the limit is {PATH_LIMIT}")
    return path


def _wrong(path: str, what: str, hint: str) -> BadInput:
    return BadInput(f"{path[:_SHOWN]!r} cannot be a target of a scope: {what}", hint)

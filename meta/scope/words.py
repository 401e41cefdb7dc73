"""The words of a scope."""

from __future__ import annotations

from meta.scope.rules import READ, WRITE, Scope
from meta.text import show_invisible


def summary(scope: Scope) -> str:
    """Return the allow rules as the greeting of a pod has them. Denies are left out: the model is not told of them."""
    parts = []
    for title, permission in (("Readable:", READ), ("Writable:", WRITE)):
        rules = [rule for rule in scope.allow if rule.permission is permission]
        if rules:
            parts += [title, *(f" - {_line(rule.target, rule.recursive)}" for rule in rules)]
    return "\n".join(parts)


def _line(target: str, recursive: bool) -> str:
    shown = show_invisible(target).replace("\n", "\\n").replace("\t", "\\t")
    return shown if recursive else f"{shown} [non-recursive]"

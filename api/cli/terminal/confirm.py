"""The question before a command that destroys something. Without a terminal to ask on, --yes has to answer it."""

from __future__ import annotations

import sys

import typer

from meta.errors import BadInput, Refused


def has_terminal() -> bool:
    """Return True if stdin is a terminal, on which a person can answer."""
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


def confirm(consequence: str, *, yes: bool) -> None:
    """Return if the operator agrees to `consequence`. Raise BadInput without a terminal, Refused for a no."""
    if yes:
        return
    if not has_terminal():
        raise BadInput(f"{consequence}: hive asks before it does that", "add --yes: stdin is not a terminal to ask on")
    if not typer.confirm(f"{consequence}. Go on?", err=True):
        raise Refused("nothing was changed", "answer y, or give --yes")

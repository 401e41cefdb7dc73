"""Keeps `hive status` quick: plain values are converted without typer's use of pydantic, which costs 0.1 s to import.

typer builds one converter per parameter, lazily, and keeps it in `_runtime_param`. Putting a small one there before is
all that happens here; with a typer that works differently it has no effect but time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, get_args, get_origin

import typer

if TYPE_CHECKING:
    from typer.core import TyperCommand, TyperGroup

_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "yes or no"}
_YES = {"1", "true", "yes", "on"}
_NO = {"0", "false", "no", "off"}


class Plain:
    """Converts one plain value."""

    def __init__(self, kind: type[str] | type[int] | type[float] | type[bool]) -> None:
        self._word = _WORDS[kind]
        self._convert: Callable[[str], object] = _boolean if kind is bool else kind

    def coerce(self, value: object, param: object, ctx: typer.Context) -> object:
        """The value as its type, of several each; BadParameter when it is none."""
        if isinstance(value, (list, tuple)):
            return [self.coerce(one, param, ctx) for one in value]
        if not isinstance(value, str):
            return value
        try:
            return self._convert(value)
        except ValueError as error:
            hint = getattr(param, "get_error_hint", lambda: "the value")()
            raise typer.BadParameter(f"{value!r} is not {self._word}", ctx=ctx, param_hint=hint) from error


def spare_pydantic(group: TyperGroup) -> None:
    """Give every parameter of a plain type a `Plain`."""
    commands: list[TyperCommand | TyperGroup] = [group, *getattr(group, "commands", {}).values()]
    for command in commands:
        for param in command.get_params(typer.Context(command)):
            kind = getattr(getattr(param, "type_descriptor", None), "annotation", None)
            kind = get_args(kind)[0] if get_origin(kind) is list else kind
            if kind in _WORDS and hasattr(param, "_runtime_param"):
                param._runtime_param = Plain(kind)


def spare_rich() -> None:
    """Completions for zsh and fish: their help is plain text, which typer renders with rich, 0.1 s to import."""
    if "_HIVE_COMPLETE" in os.environ:
        from typer import _completion_classes

        if hasattr(_completion_classes, "_sanitize_help_text"):
            _completion_classes._sanitize_help_text = _as_it_is


def _as_it_is(text: str) -> str:
    return text


def _boolean(text: str) -> bool:
    if text.lower() in _YES | _NO:
        return text.lower() in _YES
    raise ValueError(text)

"""Keep the start of `hive` fast.

Plain values are converted without pydantic, and completions run without rich: each of these imports takes 0.1 s.

typer makes one converter per parameter when it first needs it, and keeps it in `_runtime_param`. This module sets a
small one beforehand. If typer has no such attribute, the small one has no effect and hive starts more slowly.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, get_args, get_origin

import typer

if TYPE_CHECKING:
    from typer.core import TyperCommand, TyperGroup

_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "yes or no"}
_PATHS = {"DIR", "FILE", "PATH"}
"""The metavars of paths."""
_YES = {"1", "true", "yes", "on"}
_NO = {"0", "false", "no", "off"}


class PlainConverter:
    """Converts a text or a list of texts to a plain type. A path must not be empty."""

    def __init__(self, kind: type[str] | type[int] | type[float] | type[bool], *, is_path: bool = False) -> None:
        self._is_path = is_path
        self._word = _WORDS[kind]
        self._convert: Callable[[str], object] = _boolean if kind is bool else kind

    def coerce(self, value: object, param: object, ctx: typer.Context) -> object:
        """Return the value in its type. Of a list, convert each value. Raise BadParameter if a value does not fit."""
        if isinstance(value, (list, tuple)):
            return [self.coerce(one, param, ctx) for one in value]
        if not isinstance(value, str):
            return value
        if self._is_path and not value:
            hint = getattr(param, "get_error_hint", lambda: "the path")()
            raise typer.BadParameter("it is empty; is a variable of the shell unset?", ctx=ctx, param_hint=hint)
        try:
            return self._convert(value)
        except ValueError as error:
            hint = getattr(param, "get_error_hint", lambda: "the value")()
            raise typer.BadParameter(f"{value!r} is not {self._word}", ctx=ctx, param_hint=hint) from error


def avoid_pydantic(group: TyperGroup) -> None:
    """Give every parameter of a plain type a PlainConverter. So an empty path is an error and never a default."""
    for command in _commands(group):
        for param in command.get_params(typer.Context(command)):
            kind = getattr(getattr(param, "type_descriptor", None), "annotation", None)
            kind = get_args(kind)[0] if get_origin(kind) is list else kind
            if kind in _WORDS and hasattr(param, "_runtime_param"):
                param._runtime_param = PlainConverter(kind, is_path=param.metavar in _PATHS)


def _commands(group: TyperGroup) -> Iterator[TyperCommand | TyperGroup]:
    """Yield a group and every command below it."""
    yield group
    for command in getattr(group, "commands", {}).values():
        if hasattr(command, "commands"):
            yield from _commands(command)
        else:
            yield command


def avoid_rich() -> None:
    """Complete in zsh and fish without rich. The help of a completion is plain text anyway."""
    if "_HIVE_COMPLETE" in os.environ:
        from typer import _completion_classes

        if hasattr(_completion_classes, "_sanitize_help_text"):
            _completion_classes._sanitize_help_text = _unchanged


def _unchanged(text: str) -> str:
    return text


def _boolean(text: str) -> bool:
    if text.lower() in _YES | _NO:
        return text.lower() in _YES
    raise ValueError(text)

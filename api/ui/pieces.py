"""Texts in pieces: names and commands set apart from the words around them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from markupsafe import Markup

from meta.text import show_invisible

_TICKED = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a text, as it is to be set: `how` is "" for plain text, "b" for a name, "code" for a command."""

    text: str
    how: str = ""


def prose(text: str) -> tuple[Piece, ...]:
    """Return a text with what stands between backticks set apart."""
    pieces = (Piece(part, "code" if place % 2 else "") for place, part in enumerate(_TICKED.split(text)))
    return tuple(piece for piece in pieces if piece.text)


def own_words(text: str) -> Markup:
    """Return words of hive as HTML, its commands in `<code>`. Not for an agent's text: its backticks are its own."""
    return Markup("").join(
        Markup("<code>{}</code>").format(show_invisible(piece.text)) if piece.how else show_invisible(piece.text)
        for piece in prose(text)
    )

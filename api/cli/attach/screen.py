"""The terminal of `hive attach`: finished lines go up, and below them are what is under way and the line that is typed.

The lower part is at most two rows, and is drawn again after each change. It is erased before lines are printed, so
they stand in the terminal's own scrollback. Any text is escaped here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import termios
from collections.abc import Iterable, Iterator

from api.cli.attach.editor import Editor, last_columns, width_of
from api.cli.attach.view import Line, Style
from api.cli.render import console
from api.words import texts

_COLOURS = {
    Style.TURN: "1",
    Style.TOOL: "2",
    Style.STATE: "36",
    Style.NOTE: "33",
    Style.ERROR: "31",
    Style.HIVE: "35",
}
_ERASE = "\r\x1b[J"
_PASTE_ON, _PASTE_OFF = "\x1b[?2004h", "\x1b[?2004l"
_NEWLINE = "\u23ce"
"""Shown for a line end within the typed line."""


class Plain:
    """The output if it is no terminal: one line after the other, and nothing that is under way."""

    def show(self, lines: Iterable[Line]) -> None:
        """Print lines."""
        for line in lines:
            console.write(line.text)
        console.flush()


class Screen:
    """The output on a terminal. `prompt` is shown before the typed line."""

    def __init__(self, editor: Editor) -> None:
        self._editor = editor
        self._rows = 0

    def show(self, lines: Iterable[Line], live: str = "", prompt: str = "") -> None:
        """Print lines, and draw the lower part again."""
        printed = "".join(f"{styled(line)}\n" for line in lines)
        self._write(self._up() + _ERASE + printed + self._lower(live, prompt))

    def clear(self) -> None:
        """Erase the lower part."""
        self._write(self._up() + _ERASE)
        self._rows = 0

    def _up(self) -> str:
        return f"\x1b[{self._rows - 1}A" if self._rows > 1 else ""

    def _lower(self, live: str, prompt: str) -> str:
        columns = max(20, shutil.get_terminal_size().columns) - 1
        shown = last_columns(_on_one_row(live), columns)
        above = f"{shown}\n" if live else ""
        self._rows = 2 if live else 1
        head = texts.escape(prompt)
        before = last_columns(_on_one_row(self._editor.text[: self._editor.cursor]), columns - width_of(head))
        after = _on_one_row(self._editor.text[self._editor.cursor :])
        while width_of(after) > columns - width_of(head) - width_of(before):
            after = after[:-1]
        back = width_of(after)
        return f"{above}{head}{before}{after}" + (f"\x1b[{back}D" if back else "")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def _on_one_row(text: str) -> str:
    """Return the end of a text as it stands on one row. More than that never fits."""
    return texts.escape(text[-4096:].replace("\n", _NEWLINE).replace("\t", " "))


def styled(line: Line) -> str:
    """Return a line as a terminal gets it: escaped, in its colour."""
    text, code = texts.escape(line.text), _COLOURS.get(line.style, "")
    return f"\x1b[{code}m{text}\x1b[0m" if code and console.has_colours() else text


@contextlib.contextmanager
def keys() -> Iterator[int]:
    """Yield the descriptor of the keyboard, which gives every key at once and shows none, Ctrl-C too."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    changed = termios.tcgetattr(descriptor)
    changed[0] &= ~termios.IXON
    changed[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN)
    changed[6][termios.VMIN], changed[6][termios.VTIME] = 1, 0
    termios.tcsetattr(descriptor, termios.TCSADRAIN, changed)
    try:
        os.write(sys.stdout.fileno(), _PASTE_ON.encode())
        yield descriptor
    finally:
        with contextlib.suppress(OSError):
            os.write(sys.stdout.fileno(), _PASTE_OFF.encode())
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

"""The line that is typed: bytes of a terminal in, complete lines out. No input and no output of its own.

It knows the keys that people use at a shell's prompt, and pasted text, whose line ends do not end the line. A library
for this would be larger than the rest of the command line, and a part of every installation.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from dataclasses import dataclass

HISTORY = 200
MOST = 100_000
"""Characters of one line. The rest of a longer paste is dropped."""
_SEQUENCE = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|O[A-Za-z]|[^\[O\x1b])")
_BEGIN = re.compile(r"\x1b(\[[0-9;?]*[ -/]*|O)?")
_PASTE, _PASTED = "\x1b[200~", "\x1b[201~"
_KEYS = {
    "\x1b[D": "left",
    "\x1bOD": "left",
    "\x02": "left",
    "\x1b[C": "right",
    "\x1bOC": "right",
    "\x06": "right",
    "\x1b[H": "home",
    "\x1bOH": "home",
    "\x1b[1~": "home",
    "\x01": "home",
    "\x1b[F": "end",
    "\x1bOF": "end",
    "\x1b[4~": "end",
    "\x05": "end",
    "\x1b[A": "older",
    "\x1bOA": "older",
    "\x10": "older",
    "\x1b[B": "newer",
    "\x1bOB": "newer",
    "\x0e": "newer",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x1b[3~": "delete",
    "\x15": "kill-begin",
    "\x0b": "kill-end",
    "\x17": "kill-word",
}


@dataclass(frozen=True, slots=True)
class Entered:
    """A complete line."""

    text: str


@dataclass(frozen=True, slots=True)
class Left:
    """Ctrl-C, or Ctrl-D in an empty line."""


class Editor:
    """The line and its history. `feed` takes what was typed."""

    def __init__(self) -> None:
        self.text = ""
        self.cursor = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._pasting = False
        self._history: list[str] = []
        self._place = 0
        self._draft = ""

    def feed(self, data: bytes) -> list[Entered | Left]:
        """Take bytes of the terminal. Return what they complete, in order."""
        given = self._rest + self._decoder.decode(data)
        self._rest = ""
        results: list[Entered | Left] = []
        while given:
            key, given = self._split(given)
            if key is None:
                break
            result = self._press(key)
            if result is not None:
                results.append(result)
        return results

    def put_back(self, text: str) -> None:
        """Put a line that could not be sent back, unless another one is begun already."""
        if not self.text:
            self.text, self.cursor = text, len(text)

    def _split(self, given: str) -> tuple[str | None, str]:
        """Return the first key and the rest; None if it is not complete yet."""
        if given[0] != "\x1b":
            return given[0], given[1:]
        match = _SEQUENCE.match(given)
        if match is not None:
            return match[0], given[match.end() :]
        begin = _BEGIN.match(given)
        if begin is not None and begin.end() == len(given) < 32:
            self._rest = given
            return None, ""
        return "", given[1:]

    def _press(self, key: str) -> Entered | Left | None:
        if key in (_PASTE, _PASTED):
            self._pasting = key == _PASTE
        elif self._pasting:
            self._paste(key)
        elif key in ("\r", "\n"):
            return self._enter()
        elif key == "\x03" or (key == "\x04" and not self.text):
            return Left()
        elif name := _KEYS.get("\x1b[3~" if key == "\x04" else key):
            self._edit(name)
        elif key.isprintable():
            self._insert(key)
        return None

    def _paste(self, key: str) -> None:
        """Add a pasted character. No key of a paste does anything else."""
        if key.isprintable() or key in "\r\n\t":
            self._insert("\n" if key == "\r" else key)

    def _insert(self, text: str) -> None:
        if len(self.text) < MOST:
            self.text = self.text[: self.cursor] + text + self.text[self.cursor :]
            self.cursor += len(text)

    def _enter(self) -> Entered:
        line, self.text, self.cursor = self.text, "", 0
        if line.strip() and self._history[-1:] != [line]:
            self._history = [*self._history, line][-HISTORY:]
        self._place = len(self._history)
        return Entered(line)

    def _edit(self, name: str) -> None:
        text, cursor = self.text, self.cursor
        match name:
            case "left" | "right" | "home" | "end":
                places = {"left": cursor - 1, "right": cursor + 1, "home": 0, "end": len(text)}
                self.cursor = min(max(places[name], 0), len(text))
            case "older" | "newer":
                self._recall(self._place + (1 if name == "newer" else -1))
            case "backspace":
                self._cut(max(cursor - 1, 0), cursor)
            case "delete":
                self._cut(cursor, cursor + 1)
            case "kill-begin":
                self._cut(0, cursor)
            case "kill-end":
                self._cut(cursor, len(text))
            case _:
                self._cut(len(text[:cursor].rstrip().rpartition(" ")[0]) + (" " in text[:cursor].rstrip()), cursor)

    def _cut(self, begin: int, end: int) -> None:
        self.text, self.cursor = self.text[:begin] + self.text[end:], begin

    def _recall(self, place: int) -> None:
        if not 0 <= place <= len(self._history):
            return
        if self._place == len(self._history):
            self._draft = self.text
        self._place = place
        self.text = self._draft if place == len(self._history) else self._history[place]
        self.cursor = len(self.text)


def width_of(text: str) -> int:
    """Return how many columns a printable text takes."""
    return sum(_width(char) for char in text)


def _width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def last_columns(text: str, most: int) -> str:
    """Return the end of a text that takes at most so many columns."""
    left = most
    for place in range(len(text) - 1, -1, -1):
        left -= _width(text[place])
        if left < 0:
            return text[place + 1 :]
    return text

"""The tokens of a program text: which characters are keywords, strings and comments.

This runs in a process of its own (`highlight.py`), because Pygments' expressions can be slow on a text that somebody
wrote for it. stdin: each text as the name of its file, the number of its lines, and the lines. stdout: a token on each
line, as `text line first end class`, with numbers that count from 0.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

QUIET, KEYWORD = "q", "k"
"""Classes of style.css: comments and strings, and keywords."""


def main() -> int:
    """Read one question from stdin and write the answer to stdout. Return 0, also for names of no known language."""
    lines = sys.stdin.buffer.read().decode("utf-8", "replace").split("\n")
    for number, (path, text) in enumerate(_texts(lines)):
        sys.stdout.write("".join(f"{number} {' '.join(map(str, token))}\n" for token in answer_of(path, text)))
    return 0


def question(texts: Iterable[tuple[str, Sequence[str]]]) -> bytes:
    """Return the question about some texts: the name of the file and the lines of each."""
    lines = [line for path, text in texts for line in (path.replace("\n", " "), str(len(text)), *text)]
    return "\n".join(lines).encode("utf-8", "replace")


def answer_of(path: str, text: Sequence[str]) -> Iterator[tuple[int, int, int, str]]:
    """Yield (line, first, end, class) of each keyword, string and comment."""
    from pygments.lexers import get_lexer_for_filename
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_for_filename(path.rpartition("/")[2], stripnl=False, ensurenl=False)
    except ClassNotFound:
        return
    # Pygments makes a line end of a carriage return and drops a byte order mark: all places would move
    whole = "\n".join(text).replace("\r", " ").replace("\ufeff", " ")
    line = place = 0
    for kind, value in lexer.get_tokens(whole):
        name = _class(str(kind))
        for at, part in enumerate(value.split("\n")):
            if at:
                line, place = line + 1, 0
            if name and part.strip():
                yield line, place, place + len(part), name
            place += len(part)


def _texts(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    at = 0
    while at + 1 < len(lines):
        end = at + 2 + int(lines[at + 1])
        yield lines[at], lines[at + 2 : end]
        at = end


def _class(kind: str) -> str:
    if kind.startswith("Token.Keyword"):
        return KEYWORD
    if kind.startswith("Token.Comment") and not kind.startswith("Token.Comment.Preproc"):
        return QUIET
    if kind.startswith("Token.Literal.String") and not kind.endswith(("Interpol", "Symbol")):
        return QUIET
    return ""

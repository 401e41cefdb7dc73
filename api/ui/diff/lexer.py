"""The tokens of a program text: which characters are keywords, strings and comments.

This runs in a process of its own (`highlight.py`), because Pygments' expressions can be slow on a text that somebody
wrote for it. stdin: the file's name, then each text as the number of its lines and those lines. stdout: a token on each
line, as `text line first end class`, with numbers that count from 0.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

QUIET, KEYWORD = "q", "k"
"""Classes of style.css: comments and strings, and keywords."""


def main() -> int:
    """Read one question from stdin and write the answer to stdout. Return 0 also for a name of no known language."""
    lines = sys.stdin.buffer.read().decode("utf-8", "replace").split("\n")
    answer = answer_of(lines[0], list(_texts(lines[1:])))
    sys.stdout.write("".join(f"{' '.join(map(str, token))}\n" for token in answer))
    return 0


def question(path: str, texts: list[list[str]]) -> bytes:
    """Return the question about the lines of some texts of one file."""
    lines = [path.replace("\n", " "), *(line for text in texts for line in (str(len(text)), *text))]
    return "\n".join(lines).encode("utf-8", "replace")


def answer_of(path: str, texts: list[list[str]]) -> Iterator[tuple[int, int, int, int, str]]:
    """Yield (text, line, first, end, class) of each keyword, string and comment."""
    from pygments.lexers import get_lexer_for_filename
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_for_filename(path.rpartition("/")[2], stripnl=False, ensurenl=False)
    except ClassNotFound:
        return
    for number, text in enumerate(texts):
        # Pygments makes a line end of a carriage return and drops a byte order mark: all places would move
        whole = "\n".join(text).replace("\r", " ").replace("\ufeff", " ")
        line = place = 0
        for kind, value in lexer.get_tokens(whole):
            name = _class(str(kind))
            for at, part in enumerate(value.split("\n")):
                if at:
                    line, place = line + 1, 0
                if name and part.strip():
                    yield number, line, place, place + len(part), name
                place += len(part)


def _texts(lines: list[str]) -> Iterator[list[str]]:
    at = 0
    while at < len(lines) and lines[at].isdecimal():
        end = at + 1 + int(lines[at])
        yield lines[at + 1 : end]
        at = end


def _class(kind: str) -> str:
    if kind.startswith("Token.Keyword"):
        return KEYWORD
    if kind.startswith("Token.Comment") and not kind.startswith("Token.Comment.Preproc"):
        return QUIET
    if kind.startswith("Token.Literal.String") and not kind.endswith(("Interpol", "Symbol")):
        return QUIET
    return ""

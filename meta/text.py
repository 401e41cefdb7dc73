"""Clean text of unknown origin, so that it can be kept and shown, or used as a word of a command. Pure.

Characters without ink are made visible: they can hide text, or forge a line that hive wrote.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

LINE_LIMIT = 500
"""Characters of a text on one line. A longer text keeps its beginning."""

TEXT_LIMIT = 16_000
"""Characters of a text. A longer text keeps its end, because errors stand at the end."""

_CUT = "[...]\n"
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]")
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters but tab and line feed, and halves of surrogate pairs, which UTF-8 cannot express."""

_SECRETS = re.compile(
    r"sk-ant-[A-Za-z0-9_-]{6,}"  # Anthropic
    r"|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}"  # GitHub
    r"|(?<=bearer )[A-Za-z0-9._~+/=-]{8,}",  # an Authorization header
    re.IGNORECASE,
)

CATEGORIES = {
    "Cc": "control characters",
    "Cf": "format characters: zero-width ones, tags, turns of direction",
    "Cn": "unassigned",
    "Co": "private use",
    "Cs": "halves of surrogate pairs",
    "Zl": "line separator",
    "Zp": "paragraph separator",
    "Zs": "spaces other than the space",
}
"""General categories of Unicode whose characters have no ink, or an unknown one."""

FILLERS = frozenset(
    [
        "\u034f",  # combining grapheme joiner (Mn)
        "\u115f\u1160\u3164\uffa0",  # Hangul fillers (Lo)
        "\u17b4\u17b5",  # inherent vowels of Khmer (Mn)
        "\u180b\u180c\u180d\u180f",  # variation selectors of Mongolian (Mn)
        "\u2d7f\U0001107f\U00011a47\U00011a99",  # joiners of Tifinagh, Brahmi, Zanabazar and Soyombo (Mn)
        "\U000113d0\U00011f42",  # joiners of Tulu-Tigalari and Kawi (Mn), which older Pythons call unassigned
        "\U00013441\U00013442",  # Egyptian blanks (Lo), as new
        "\u2800",  # blank Braille pattern (So)
        "\ufffc",  # object replacement (So)
        "\U00016fe4",  # Khitan small script filler (Mn)
        "\U0001d159",  # null notehead (So)
        "".join(map(chr, range(0xFE00, 0xFE10))),  # variation selectors (Mn)
        "".join(map(chr, range(0xE0100, 0xE01F0))),  # variation selectors supplement (Mn)
    ]
)
"""Further characters without ink, which are in categories whose others have some."""

_FILLERS = frozenset("".join(FILLERS))
_KEPT = frozenset(" \t\n")
_SUSPECTS = re.compile(r"[^\n\t\x20-\x7e]")
_MOST_NAMED = 20


def scrub(text: str | bytes, limit: int = TEXT_LIMIT) -> str:
    """Return `text` without characters that could mislead or harm a reader, cut to its last `limit` characters.

    Remove terminal escapes, control characters and invalid UTF-8. Show other characters without ink as escapes.
    Replace tokens of the kinds in `_SECRETS` by "[redacted]". This catches most secrets, not all.
    """
    decoded = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    lines = decoded.replace("\r\n", "\n").replace("\r", "\n")
    clean = _SECRETS.sub("[redacted]", show_invisible(_CONTROLS.sub("", _ESCAPES.sub("", lines))))
    if len(clean) <= limit:
        return clean
    return _CUT + clean[-(limit - len(_CUT)) :] if limit > len(_CUT) else clean[len(clean) - limit :]


def has_secret(text: str) -> bool:
    """Return True if the text has a token of the kinds that `scrub` replaces."""
    return _SECRETS.search(text) is not None


def one_line(text: str, limit: int = LINE_LIMIT) -> str:
    """Return `text` scrubbed, on one line, without spaces around it, cut to its first `limit` characters."""
    return " ".join(scrub(text, max(limit * 8, TEXT_LIMIT)).split())[:limit].rstrip()


def quoted(text: str) -> str:
    """Return another's words in quotation marks, on one line. They cannot end the quotation, or look like a command."""
    inner = " ".join(text.split()).replace('"', "'").replace("`", "'")
    return f'"{inner}"'


def is_invisible(char: str) -> bool:
    """Return True if a character has no ink. The space, the tab and the line feed do not count."""
    return char not in _KEPT and (char in _FILLERS or unicodedata.category(char) in CATEGORIES)


def show_invisible(text: str) -> str:
    r"""Return `text` with each invisible character as its escape (`\u200b`, `\U000e0041`)."""
    return _SUSPECTS.sub(lambda match: _escape(match[0]), text)


def show_invisible_in_json(text: str) -> str:
    r"""Return JSON with each invisible character as JSON's own escape, so that it stays the same value."""
    return _SUSPECTS.sub(lambda match: _json_escape(match[0]), text)


def name_invisible(*texts: str) -> tuple[str, ...]:
    """Return the invisible characters in `texts` as `U+200B ZERO WIDTH SPACE`, sorted, at most 20."""
    chars = {char for text in texts for char in _SUSPECTS.findall(text) if is_invisible(char)}
    names = [
        f"U+{ord(char):04X} {unicodedata.name(char, CATEGORIES.get(unicodedata.category(char), ''))}"
        for char in sorted(chars)
    ]
    more = len(names) - _MOST_NAMED
    return tuple(names) if more <= 0 else (*names[:_MOST_NAMED], f"and {more} more")


@lru_cache(4096)
def _escape(char: str) -> str:
    if not is_invisible(char):
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


@lru_cache(4096)
def _json_escape(char: str) -> str:
    if not is_invisible(char):
        return char
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def command_line(*words: object) -> str:
    """Return a command of which a shell makes exactly these words. Every command that hive prints is made here.

    A word that may begin with a dash and is no option belongs behind `--`, or into another word (`refs/heads/-d`).
    """
    import shlex  # most programs print no command

    return shlex.join(str(word) for word in words)


def size(count: int) -> str:
    """Return a number of bytes in words: 512 B, 3.2 MiB."""
    value, units = float(count), ("B", "KiB", "MiB", "GiB", "TiB")
    for unit in units:
        if value < 1024 or unit == units[-1]:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")

"""Clean text of unknown origin, so that it can be kept and shown. Pure."""

from __future__ import annotations

import re

from meta.invisible import show_invisible

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


def one_line(text: str, limit: int = LINE_LIMIT) -> str:
    """Return `text` scrubbed, on one line, without spaces around it, cut to its first `limit` characters."""
    return " ".join(scrub(text, max(limit * 8, TEXT_LIMIT)).split())[:limit].rstrip()

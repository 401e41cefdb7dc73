"""Messages of tags and meta commits: a subject line, free text, and trailers that free text cannot counterfeit.

    approved 7

        Free text, which may come from an agent or a build log,
        is indented by four spaces, line by line.

    Hive-Id: 7
    Hive-By: operator uid 1000

Trailers are only what stands unindented in the last block. `encode` scrubs everything that it is given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from meta.invisible import show_invisible

SUBJECT_LIMIT = 200
VALUE_LIMIT = 500
TEXT_LIMIT = 16_000
"""Characters; of longer text the end is kept, where an error stands."""

_CUT = "[...]\n"
_INDENT = "    "
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]")
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters but tab and line feed, and halves of surrogate pairs, which cannot be written."""

_SECRETS = re.compile(
    r"sk-ant-[A-Za-z0-9_-]{6,}"  # Anthropic
    r"|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}"  # GitHub
    r"|(?<=bearer )[A-Za-z0-9._~+/=-]{8,}",  # an Authorization header
    re.IGNORECASE,
)
_TRAILER = re.compile(r"([A-Z][A-Za-z0-9-]*): ?(.*)")


@dataclass(frozen=True, slots=True)
class Message:
    """A decoded message."""

    subject: str
    text: str = ""
    trailers: Mapping[str, str] = field(default_factory=dict)


def scrub(text: str | bytes, limit: int = TEXT_LIMIT) -> str:
    """`text` made fit to be kept and shown: at most `limit` characters, of which the last are kept.

    Terminal escapes, control characters and invalid UTF-8 go; other characters without ink become visible escapes;
    tokens of the kinds in `_SECRETS` become "[redacted]" (a last net, not a promise).
    """
    decoded = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    lines = decoded.replace("\r\n", "\n").replace("\r", "\n")
    clean = _SECRETS.sub("[redacted]", show_invisible(_CONTROLS.sub("", _ESCAPES.sub("", lines))))
    if len(clean) <= limit:
        return clean
    return _CUT + clean[-(limit - len(_CUT)) :] if limit > len(_CUT) else clean[len(clean) - limit :]


def one_line(text: str, limit: int = VALUE_LIMIT) -> str:
    """`text` scrubbed, on one line, without spaces around; of longer text the beginning is kept."""
    return " ".join(scrub(text, max(limit * 8, TEXT_LIMIT)).split())[:limit].rstrip()


def encode(subject: str, text: str = "", trailers: Mapping[str, str] | None = None) -> str:
    """The message as it is written to git. `decode` gives back the scrubbed parts exactly."""
    blocks = [one_line(subject, SUBJECT_LIMIT) + "\n"]
    if body := scrub(text):
        blocks.append("".join(f"{_INDENT}{line}\n" for line in body.split("\n")))
    if trailers:
        blocks.append("".join(f"{_key(key)}: {one_line(value)}\n" for key, value in trailers.items()))
    return "\n".join(blocks)


def decode(message: str) -> Message:
    """The parts of a message. Total: what hive did not write has its text, and no trailers."""
    subject, _, rest = message.partition("\n")
    lines = rest.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    trailers: dict[str, str] = {}
    end = len(lines)
    while end and (match := _TRAILER.fullmatch(lines[end - 1])):
        trailers[match[1]] = match[2]
        end -= 1
    if end and lines[end - 1]:  # the block goes on with something else: it is text
        trailers, end = {}, len(lines)
    text = lines[1:end] if lines[:1] == [""] else lines[:end]
    if trailers and text and not text[-1]:
        text.pop()
    return Message(subject, "\n".join(line.removeprefix(_INDENT) for line in text), dict(reversed(trailers.items())))


def _key(key: str) -> str:
    if not _TRAILER.fullmatch(f"{key}: "):
        raise ValueError(f"{key!r} is no key of a trailer")
    return key

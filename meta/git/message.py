"""Messages of tags and meta commits: a subject line, free text, and trailers that free text cannot counterfeit.

    approved 7

        Free text, which may come from an agent or a build log,
        is indented by four spaces, line by line.

    Hive-Id: 7
    Hive-By: operator uid 1000

Only unindented lines of the last block are trailers. `encode` scrubs all its arguments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from meta.text import one_line, scrub

SUBJECT_LIMIT = 200
_INDENT = "    "
_TRAILER = re.compile(r"([A-Z][A-Za-z0-9-]*): ?(.*)")


@dataclass(frozen=True, slots=True)
class Message:
    """A decoded message."""

    subject: str
    text: str = ""
    trailers: Mapping[str, str] = field(default_factory=dict)


def encode(subject: str, text: str = "", trailers: Mapping[str, str] | None = None) -> str:
    """Return the message as git stores it. `decode` returns exactly the scrubbed parts."""
    blocks = [one_line(subject, SUBJECT_LIMIT) + "\n"]
    if body := scrub(text):
        blocks.append("".join(f"{_INDENT}{line}\n" for line in body.split("\n")))
    if trailers:
        blocks.append("".join(f"{_key(key)}: {one_line(value)}\n" for key, value in trailers.items()))
    return "\n".join(blocks)


def decode(message: str) -> Message:
    """Return the parts of a message. A message that hive did not write has a text and no trailers."""
    subject, _, rest = message.partition("\n")
    lines = rest.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    trailers: dict[str, str] = {}
    end = len(lines)
    while end and (match := _TRAILER.fullmatch(lines[end - 1])):
        trailers[match[1]] = match[2]
        end -= 1
    if end and lines[end - 1]:  # the block also has other lines: it is text
        trailers, end = {}, len(lines)
    text = lines[1:end] if lines[:1] == [""] else lines[:end]
    if trailers and text and not text[-1]:
        text.pop()
    return Message(subject, "\n".join(line.removeprefix(_INDENT) for line in text), dict(reversed(trailers.items())))


def _key(key: str) -> str:
    if not _TRAILER.fullmatch(f"{key}: "):
        raise ValueError(f"{key!r} is not a key of a trailer")
    return key

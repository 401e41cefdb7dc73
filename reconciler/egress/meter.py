"""The tokens that an answer of a model's API says it cost. It reads along after the bytes went on, and keeps few.

`input` is without what was read from a cache, which is `cached`; a reasoning model's thoughts are `output`. If an
answer was left before it named its tokens, or names none, they are estimated: four bytes are a token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import h11

from meta.network.report import Metered

LINE_LIMIT = 256 * 1024
"""Bytes of a line of an event stream. Of a longer one its end is kept: the tokens stand behind what was asked."""
JSON_LIMIT = 2**20
"""Bytes of an answer that is one document. Of a longer one its end is kept."""
TOKENS_LIMIT = 10**12
BYTES_PER_TOKEN = 4
ESTIMATE_LIMIT = 250_000
"""Tokens of a request whose answer names none: no model reads more, but pictures have many bytes."""

_Object = Mapping[str, Any]
_EVENTS = b"text/event-stream"
_USAGE = re.compile(r'"(usage|usageMetadata)"\s*:\s*(?=\{)')
_USAGES = 8
"""How many are looked at from the end of a long line: more would be the agent's own."""


class Meter:
    """The meter of one answer. `form` is that of meta.network.routes.RouteKind.metered."""

    def __init__(self, form: str) -> None:
        self._read = _FORMS[form]
        self._texts = _TEXTS[form]
        self._counts: dict[str, int] = {}
        self._is_answered = False
        self._has_succeeded = False
        self._is_read = False
        self._is_stream = False
        self._is_named = False
        """The answer named all its tokens."""
        self._words = 0
        """Bytes of the answer's text."""
        self._held = bytearray()
        self._is_cut = False
        """Only the end of a long line, or document, is held."""

    def begin(self, answer: h11.Response) -> None:
        """Note the head: only answers that succeeded, and are not compressed, are read."""
        headers = {name: value.strip().lower() for name, value in answer.headers}
        self._is_answered = True
        self._is_stream = headers.get(b"content-type", b"").startswith(_EVENTS)
        plain = headers.get(b"content-encoding", b"identity") == b"identity"
        self._has_succeeded = answer.status_code == 200
        self._is_read = self._has_succeeded and plain

    def feed(self, data: bytes) -> None:
        """Note bytes of the body."""
        if not self._is_read:
            self._words += len(data)
            return
        if not self._is_stream:
            self._add(data, JSON_LIMIT)
            return
        *ended, rest = data.split(b"\n")
        for line in ended:
            self._add(line, LINE_LIMIT)
            self._line()
        self._add(rest, LINE_LIMIT)

    def tokens(self, asked: int | None = None) -> Metered | None:
        """Return what the answer cost as far as it has come; None if there was none.

        `asked` are the bytes of a request whose answer has to name tokens: if it does not, they are estimated.
        """
        if not self._is_answered:
            return None
        if self._held:
            self._line() if self._is_stream else self._end()
        if asked is not None and self._has_succeeded and not self._is_named:
            self._estimate(asked)
        count = self._counts.get
        return Metered(1, count("input", 0), count("output", 0), count("cached", 0))

    def _estimate(self, asked: int) -> None:
        self._counts.setdefault("input", min(asked // BYTES_PER_TOKEN, ESTIMATE_LIMIT))
        self._counts["output"] = max(self._counts.get("output", 0), self._words // BYTES_PER_TOKEN)

    def _add(self, data: bytes, limit: int) -> None:
        """Add bytes to what is being read."""
        self._held += data
        if len(self._held) > limit or (self._is_cut and len(self._held) > LINE_LIMIT):
            self._is_cut = True
            del self._held[:-LINE_LIMIT]

    def _line(self) -> None:
        """Read a line of a stream, which is held."""
        if self._is_cut or self._held.startswith(b"data:"):
            if not self._is_named:
                self._count_words(self._held)
            if b'"usage' in self._held:
                del self._held[: 0 if self._is_cut else len(b"data:")]
                self._end()
        self._held.clear()
        self._is_cut = False

    def _end(self) -> None:
        """Read a document, which is held, or the end of one."""
        held, self._held = bytes(self._held), bytearray()
        try:
            document = json.loads(b"" if self._is_cut else held)
        except (ValueError, RecursionError):
            document = max(_usages(held), key=self._sum, default={})
        self._note(document if isinstance(document, list) else [document])
        if not self._is_stream and not self._is_named:
            self._count_words(held)

    def _count_words(self, data: bytes | bytearray) -> None:
        self._words += sum(len(match[1]) for match in self._texts.finditer(data))

    def _note(self, parts: list[object]) -> None:
        for part in parts:
            if isinstance(part, dict) and (counts := self._read(part)):
                self._counts.update(counts)
                self._is_named = self._is_named or part.get("type") != "message_start"

    def _sum(self, part: _Object) -> int:
        return sum(self._read(part).values())


def _usages(data: bytes) -> list[_Object]:
    """Return the last usages in the end of a document, each as a document of its own.

    A quote in a string is escaped there, so none of these is in one.
    """
    text = data.decode("utf-8", "replace")
    usages: list[_Object] = []
    for match in list(_USAGE.finditer(text))[-_USAGES:]:
        try:
            usages.append({match[1]: json.JSONDecoder().raw_decode(text, match.end())[0]})
        except (ValueError, RecursionError):
            continue
    return usages


def _anthropic(document: _Object) -> dict[str, int]:
    """Read a message, or `message_start` and `message_delta`, whose counts are sums so far."""
    message = _object(document.get("message")) if document.get("type") == "message_start" else document
    usage = _object(message.get("usage"))
    counts = {}
    if (tokens := _count(usage, "input_tokens")) is not None:
        counts["input"] = tokens + (_count(usage, "cache_creation_input_tokens") or 0)
    if (cached := _count(usage, "cache_read_input_tokens")) is not None:
        counts["cached"] = cached
    if (output := _count(usage, "output_tokens")) is not None:
        counts["output"] = output
    return counts


def _openai(document: _Object) -> dict[str, int]:
    """Read an answer of Responses or Chat Completions, or the event that has the sums."""
    holder = document if "usage" in document else _object(document.get("response"))
    usage = _object(holder.get("usage"))
    for asked, answered, details in (
        ("input_tokens", "output_tokens", "input_tokens_details"),
        ("prompt_tokens", "completion_tokens", "prompt_tokens_details"),
    ):
        if (tokens := _count(usage, asked)) is not None:
            cached = min(_count(_object(usage.get(details)), "cached_tokens") or 0, tokens)
            return {"input": tokens - cached, "output": _count(usage, answered) or 0, "cached": cached}
    return {}


def _gemini(document: _Object) -> dict[str, int]:
    """Read an answer or a part of a stream, whose counts are sums so far."""
    usage = _object(document.get("usageMetadata"))
    tokens = _count(usage, "promptTokenCount")
    if tokens is None:
        return {}
    cached = min(_count(usage, "cachedContentTokenCount") or 0, tokens)
    output = (_count(usage, "candidatesTokenCount") or 0) + (_count(usage, "thoughtsTokenCount") or 0)
    tools = _count(usage, "toolUsePromptTokenCount") or 0
    return {"input": tokens - cached + tools, "output": output, "cached": cached}


def _object(value: object) -> _Object:
    return value if isinstance(value, dict) else {}


def _count(row: _Object, key: str) -> int | None:
    value = row.get(key)
    fine = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= TOKENS_LIMIT
    return value if fine else None


_FORMS: Mapping[str, Callable[[_Object], dict[str, int]]] = MappingProxyType(
    {"anthropic": _anthropic, "openai": _openai, "gemini": _gemini}
)


def _texts(*names: str) -> re.Pattern[bytes]:
    """Return what matches a text that has one of the names, in JSON."""
    text = rf'"(?:{"|".join(names)})"\s*:\s*"([^"\\]*(?:\\.[^"\\]*)*)'
    return re.compile(text.encode("ascii"), re.DOTALL)


_TEXTS: Mapping[str, re.Pattern[bytes]] = MappingProxyType(
    {
        "anthropic": _texts("text", "thinking", "partial_json"),
        "openai": _texts("delta", "content", "reasoning_content", "arguments"),
        "gemini": _texts("text"),
    }
)
"""The words of an answer, as they come in a stream."""

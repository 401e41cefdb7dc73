"""The tokens that an answer of a model's API says it cost. It reads along after the bytes went on, and keeps few.

What is no JSON, is compressed, or is longer than the limits counts as a request without tokens. `input` is without
what was read from a cache, which is `cached`; a reasoning model's thoughts are `output`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import h11

from meta.network.report import Metered

LINE_LIMIT = 256 * 1024
"""Bytes of a line of an event stream. Longer ones are skipped."""
JSON_LIMIT = 2**20
"""Bytes of an answer that is one document."""
TOKENS_LIMIT = 10**12

_Object = Mapping[str, Any]
_EVENTS = b"text/event-stream"


class Meter:
    """The meter of one answer. `form` is that of meta.network.routes.RouteKind.metered."""

    def __init__(self, form: str) -> None:
        self._read = _FORMS[form]
        self._counts: dict[str, int] = {}
        self._is_answered = False
        self._is_read = False
        self._is_stream = False
        self._held = bytearray()
        self._skips = False

    def begin(self, answer: h11.Response) -> None:
        """Note the head: only answers that succeeded, and are not compressed, are read."""
        headers = {name: value.strip().lower() for name, value in answer.headers}
        self._is_answered = True
        self._is_stream = headers.get(b"content-type", b"").startswith(_EVENTS)
        plain = headers.get(b"content-encoding", b"identity") == b"identity"
        self._is_read = answer.status_code == 200 and plain

    def feed(self, data: bytes) -> None:
        """Note bytes of the body."""
        if not self._is_read:
            return
        if not self._is_stream:
            self._held += data
            if len(self._held) > JSON_LIMIT:
                self._is_read = False
                self._held.clear()
            return
        *ended, rest = data.split(b"\n")
        for line in ended:
            self._add(line)
            if not self._skips:
                self._line(bytes(self._held))
            self._held.clear()
            self._skips = False
        self._add(rest)

    def tokens(self) -> Metered | None:
        """Return what the answer cost as far as it has come; None if there was none."""
        if not self._is_answered:
            return None
        if self._is_read and self._held and not self._skips:
            self._line(bytes(self._held)) if self._is_stream else self._document(bytes(self._held))
            self._held.clear()
        count = self._counts.get
        return Metered(1, count("input", 0), count("output", 0), count("cached", 0))

    def _add(self, data: bytes) -> None:
        """Add bytes to the line that is being read."""
        if self._skips or len(self._held) + len(data) > LINE_LIMIT:
            self._skips = True
            self._held.clear()
        else:
            self._held += data

    def _line(self, line: bytes) -> None:
        if line.startswith(b"data:") and b'"usage' in line:
            self._document(line[len(b"data:") :])

    def _document(self, data: bytes) -> None:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            return
        for part in document if isinstance(document, list) else [document]:
            if isinstance(part, dict):
                self._counts.update(self._read(part))


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

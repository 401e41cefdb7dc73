"""What a line of `claude --output-format stream-json` means. Pure; no line raises an error or is lost.

The keys come in any order, and new types come with each version of the CLI: what is not known stays as it came.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.runtimes.claude.facts import (
    Answer,
    ApiError,
    Boundary,
    Context,
    Fact,
    Init,
    Lifecycle,
    NotCompacted,
    Question,
    RateLimit,
    Result,
)
from harness.runtimes.json_line import check_shape
from meta.text import one_line
from meta.wire.live import AnyItem, Notice, Text, TextDelta, Thinking, ToolCall, ToolResult, Unknown

_HALF = re.compile(rb"\\u[dD][89abAB]")
"""Half of a surrogate pair, which UTF-8 cannot express, may stand in the line."""

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Parsed:
    """A line: itself as a JSON value, or as text if it is not JSON; what it shows; what it says of the turn.

    `repeated`: the `assistant` or `result` line that follows has all that it says.
    """

    line: object
    items: tuple[AnyItem, ...] = ()
    facts: tuple[Fact, ...] = ()
    repeated: bool = False


def parse_line(data: bytes, dropped: int = 0) -> Parsed:
    """Return the meaning of a line. `dropped` counts the bytes that were cut off at its end."""
    if dropped:
        size = len(data) + dropped
        return Parsed(f"{data.decode('utf-8', 'replace')}[...]", (Unknown(name=f"a line of {size} bytes"),))
    try:
        value = _load(data)
    except (ValueError, RecursionError):
        return Parsed(data.decode("utf-8", "replace"), (Unknown(name="not JSON"),))
    if not isinstance(value, dict):
        return Parsed(value, (Unknown(name="not an object"),))
    kind = value.get("type")
    read = _READERS.get(kind) if isinstance(kind, str) else None
    if read is None:
        return Parsed(value, (Unknown(name=_word(kind)),))
    items, facts = _sort(read(value))
    return Parsed(value, items, facts, kind == "stream_event" and _is_repeated(value))


def _sort(parts: Iterator[AnyItem | Fact]) -> tuple[tuple[AnyItem, ...], tuple[Fact, ...]]:
    items: list[AnyItem] = []
    facts: list[Fact] = []
    for part in parts:
        if isinstance(part, AnyItem):
            items.append(part)
        else:
            facts.append(part)
    return tuple(items), tuple(facts)


# a line's JSON
def _load(data: bytes) -> object:
    check_shape(data)
    value = _DECODER.decode(data.decode("utf-8", "replace"))
    return _without_halves(value) if _HALF.search(data) else value


def _refuse(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large")
    return number


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_number)


def _without_halves(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_without_halves(part) for part in value]
    if isinstance(value, dict):
        return {str(_without_halves(key)): _without_halves(part) for key, part in value.items()}
    return value


# values of unknown origin
def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _word(value: object) -> str:
    if isinstance(value, str) and len(value) < 16 and value.isidentifier() and value.isascii():
        return value  # most words are, and scrubbing takes longer than the rest of a line
    return one_line(_text(value), 100)


def _object(value: object) -> Object:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[Object]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def _amount(value: object) -> float | None:
    return (
        float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12 else None
    )


def _flat(content: object) -> str:
    """Return the text of a tool's result."""
    if isinstance(content, str):
        return content
    parts = (_text(block.get("text")) or f"[{_word(block.get('type'))}]" for block in _objects(content))
    return "\n".join(parts)


# the types of lines
Parts = Iterator[AnyItem | Fact]


def _assistant(line: Object) -> Parts:
    message = _object(line.get("message"))
    synthetic = message.get("model") == "<synthetic>"
    nested = bool(line.get("parent_tool_use_id"))
    for block in _objects(message.get("content")):
        match block.get("type"):
            case "text" if synthetic:
                yield Notice(level="error" if line.get("error") else "info", text=_text(block.get("text")))
            case "text" if nested:
                yield Notice(text=f"subagent: {_text(block.get('text'))}")
            case "text":
                yield Text(text=_text(block.get("text")))
            case "thinking":
                yield Thinking(text=_text(block.get("thinking")))
            case "tool_use" | "server_tool_use":
                arguments = json.dumps(block.get("input", {}), ensure_ascii=False)
                yield ToolCall(id=_text(block.get("id")), name=_word(block.get("name")), input=arguments)
            case "redacted_thinking":
                yield Thinking(text="")
            case str(kind) if kind.endswith("_tool_result"):  # of a tool that the API runs itself
                content = block.get("content")
                failed = _text(_object(content).get("type")).endswith("_error")
                output = _flat(content) if isinstance(content, str | list) else json.dumps(content, ensure_ascii=False)
                yield ToolResult(id=_text(block.get("tool_use_id")), output=output, is_error=failed)
            case other:
                yield Unknown(name=f"assistant/{_word(other)}")
    if line.get("error"):
        yield ApiError(_word(line.get("error")))
    elif not synthetic and not nested:
        yield from _context(_object(message.get("usage")))


def _context(usage: Object) -> Iterator[Context]:
    parts = [usage.get(f"{name}input_tokens") for name in ("", "cache_creation_", "cache_read_")]
    counts = [count for part in parts if (count := _count(part)) is not None]
    if counts and sum(counts):
        yield Context(sum(counts), _count(usage.get("output_tokens")) or 0)


def _user(line: Object) -> Parts:
    content = _object(line.get("message")).get("content")
    for block in _objects(content):
        if block.get("type") == "tool_result":
            output = _flat(block.get("content"))
            yield ToolResult(id=_text(block.get("tool_use_id")), output=output, is_error=block.get("is_error") is True)
        elif _text(block.get("text")).startswith("[Request interrupted"):
            yield Notice(text=_word(block.get("text")))


def _stream_event(line: Object) -> Parts:
    event = _object(line.get("event"))
    if line.get("parent_tool_use_id"):
        return
    delta = _object(event.get("delta"))
    if delta.get("type") == "text_delta":
        yield TextDelta(text=_text(delta.get("text")))
    elif event.get("type") == "message_delta":
        yield from _context(_object(event.get("usage")))


_REPEATED = frozenset(
    [
        *("message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop", "ping"),
        *("text_delta", "thinking_delta", "input_json_delta", "signature_delta", "citations_delta"),
    ]
)
"""Events and deltas of a message that a line with the whole follows."""


def _is_repeated(line: Object) -> bool:
    event = _object(line.get("event"))
    kind = _word(event.get("type"))
    return (_word(_object(event.get("delta")).get("type")) if kind == "content_block_delta" else kind) in _REPEATED


def _system(line: Object) -> Parts:
    subtype = _word(line.get("subtype"))
    read = _SYSTEM.get(subtype)
    if read is not None:
        yield from read(line)
    elif not subtype.startswith(_QUIET):
        yield Unknown(name=f"system/{subtype}")


_QUIET = (
    "hook_",
    "task_",
    "background_tasks_",
    "session_state_",
    "thinking_tokens",
    "local_command",
    "turn_",
    "files_",
)


def _init(line: Object) -> Parts:
    servers = {_word(entry.get("name")): _word(entry.get("status")) for entry in _objects(line.get("mcp_servers"))}
    for name, state in servers.items():
        if state not in ("connected", "pending"):
            yield Notice(level="warn", text=f"the MCP server {name} is {state}: its tools are missing in this turn")
    yield Init(_text(line.get("session_id")), _word(line.get("model")), servers)


def _api_retry(line: Object) -> Parts:
    status = line.get("error_status")
    what = f"{status}, {_word(line.get('error'))}" if status else _word(line.get("error"))
    tries = f"attempt {_count(line.get('attempt')) or 0} of {_count(line.get('max_retries')) or 0}"
    wait = (_amount(line.get("retry_delay_ms")) or 0) / 1000
    yield Notice(level="warn", text=f"the model's API failed ({what}): {tries}, again in {wait:.1f} s")


def _status(line: Object) -> Parts:
    if line.get("status") == "compacting":
        yield Notice(text="compacting the conversation")
    failed = line.get("compact_result")
    if failed not in (None, "success"):
        error = one_line(_text(line.get("compact_error"))) or _word(failed)
        yield Notice(level="error", text=f"the compaction failed: {error}")
        yield NotCompacted(error)


def _boundary(line: Object) -> Parts:
    metadata = _object(line.get("compact_metadata"))
    before, after = _count(metadata.get("pre_tokens")), _count(metadata.get("post_tokens"))
    yield Notice(text=f"compacted the conversation from {before} to {after} tokens")
    yield Boundary(before, after)


def _denied(line: Object) -> Parts:
    yield Notice(
        level="warn", text=f"{_word(line.get('tool_name'))} was denied: {one_line(_text(line.get('message')))}"
    )


def _sentence(line: Object) -> Parts:
    yield Notice(level="warn", text=one_line(_text(line.get("content")) or _text(line.get("text"))))


def _held(line: Object) -> Parts:
    yield Notice(level="warn", text="a message of another session of this CLI was held back")


def _result(line: Object) -> Parts:
    usage = _object(line.get("usage"))
    since = _object(line.get("model_usage_since_last_result"))
    used = [_object(part) for part in since.values()] if since else []
    models = _object(line.get("modelUsage"))
    windows = {name: _count(_object(part).get("contextWindow")) for name, part in models.items()}
    errors = line.get("errors")
    text = _text(line.get("result")) or "; ".join(part for part in errors or () if isinstance(part, str))
    yield Result(
        is_error=line.get("is_error") is not False,
        subtype=_word(line.get("subtype")),
        reason=_word(line.get("terminal_reason")),
        status=_count(line.get("api_error_status")),
        error=_word(line.get("api_error")),
        text=one_line(text),
        origin=_word(_object(line.get("origin")).get("kind")),
        session=_text(line.get("session_id")),
        input=_sum(used, "inputTokens", "cacheCreationInputTokens")
        if used
        else _sum([usage], "input_tokens", "cache_creation_input_tokens"),
        output=_sum(used, "outputTokens") if used else _sum([usage], "output_tokens"),
        cached=_sum(used, "cacheReadInputTokens") if used else _sum([usage], "cache_read_input_tokens"),
        dollars=_dollars(used, "model_usage_since_last_result" in line),
        total=_amount(line.get("total_cost_usd")),
        windows={name: window for name, window in windows.items() if window},
    )


def _sum(parts: list[Object], *keys: str) -> int | None:
    counts = [count for part in parts for key in keys if (count := _count(part.get(key))) is not None]
    return sum(counts) if counts else None


def _dollars(used: list[Object], reported: bool) -> float | None:
    return sum(_amount(part.get("costUSD")) or 0.0 for part in used) if reported else None


def _lifecycle(line: Object) -> Parts:
    yield Lifecycle(_text(line.get("command_uuid")), _word(line.get("state")))


def _rate_limit(line: Object) -> Parts:
    info = _object(line.get("rate_limit_info"))
    status, resets = _word(info.get("status")), _amount(info.get("resetsAt"))
    if status != "allowed":
        share = _amount(info.get("utilization"))
        used = f", {share:.0%} used" if share is not None else ""
        yield Notice(level="warn", text=f"limit of the account: {status} ({_word(info.get('rateLimitType'))}{used})")
    yield RateLimit(status == "rejected", resets)


def _request(line: Object) -> Parts:
    request = _object(line.get("request"))
    kind, tool = _word(request.get("subtype")), _word(request.get("tool_name"))
    if kind == "can_use_tool":
        yield Notice(level="warn", text=f"{tool} needs a permission that agent.toml does not give")
    yield Question(_text(line.get("request_id")), kind, tool)


def _response(line: Object) -> Parts:
    response = _object(line.get("response"))
    failed = response.get("subtype") != "success"
    error = (one_line(_text(response.get("error"))) or "it was refused") if failed else ""
    yield Answer(_text(response.get("request_id")), error)


def _nothing(line: Object) -> Parts:
    yield from ()


_READERS: Mapping[str, Callable[[Object], Parts]] = {
    "assistant": _assistant,
    "user": _user,
    "stream_event": _stream_event,
    "system": _system,
    "result": _result,
    "command_lifecycle": _lifecycle,
    "rate_limit_event": _rate_limit,
    "control_request": _request,
    "control_response": _response,
    "control_cancel_request": _nothing,
    "conversation_reset": _nothing,
    "keep_alive": _nothing,
    "tool_progress": _nothing,
    "tool_use_summary": _nothing,
}

_SYSTEM: Mapping[str, Callable[[Object], Parts]] = {
    "init": _init,
    "api_retry": _api_retry,
    "status": _status,
    "compact_boundary": _boundary,
    "permission_denied": _denied,
    "model_fallback": _sentence,
    "notification": _sentence,
    "informational": _sentence,
    "peer_message_hold": _held,
}

"""What each type of a line of the CLI shows and says. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

from harness.asides import RequestBegins, RequestEnds, ToolBegins, ToolPiece
from harness.runtimes.claude.facts import Answer, ApiError, Context, Lifecycle, Question, RateLimit, Result
from harness.runtimes.claude.system import read_system
from harness.runtimes.claude.values import (
    Object,
    Parts,
    as_amount,
    as_count,
    as_object,
    as_objects,
    as_sentence,
    as_text,
    as_word,
    flatten,
)
from meta.wire.live import Notice, Text, TextDelta, Thinking, ToolCall, ToolResult, Unknown

_CALLS = ("tool_use", "server_tool_use")


def _assistant(line: Object) -> Parts:
    message = as_object(line.get("message"))
    synthetic = message.get("model") == "<synthetic>"
    nested = bool(line.get("parent_tool_use_id"))
    for block in as_objects(message.get("content")):
        match block.get("type"):
            case "text" if synthetic:
                yield Notice(level="error" if line.get("error") else "info", text=as_text(block.get("text")))
            case "text" if nested:
                yield Notice(text=f"subagent: {as_text(block.get('text'))}")
            case "text":
                yield Text(text=as_text(block.get("text")))
            case "thinking":
                yield Thinking(text=as_text(block.get("thinking")))
            case kind if kind in _CALLS:
                arguments = json.dumps(block.get("input", {}), ensure_ascii=False)
                yield ToolCall(id=as_text(block.get("id")), name=as_word(block.get("name")), input=arguments)
            case "redacted_thinking":
                yield Thinking(text="")
            case str(kind) if kind.endswith("_tool_result"):  # of a tool that the API runs itself
                content = block.get("content")
                failed = as_text(as_object(content).get("type")).endswith("_error")
                output = (
                    flatten(content) if isinstance(content, str | list) else json.dumps(content, ensure_ascii=False)
                )
                yield ToolResult(id=as_text(block.get("tool_use_id")), output=output, is_error=failed)
            case other:
                yield Unknown(name=f"assistant/{as_word(other)}")
    if line.get("error"):
        yield ApiError(as_word(line.get("error")))
    elif not synthetic and not nested:
        yield from _context(as_object(message.get("usage")))


def _context(usage: Object) -> Iterator[Context]:
    parts = [usage.get(f"{name}input_tokens") for name in ("", "cache_creation_", "cache_read_")]
    counts = [count for part in parts if (count := as_count(part)) is not None]
    if counts and sum(counts):
        cached = as_count(usage.get("cache_read_input_tokens")) or 0
        yield Context(sum(counts), as_count(usage.get("output_tokens")) or 0, cached)


def _user(line: Object) -> Parts:
    content = as_object(line.get("message")).get("content")
    for block in as_objects(content):
        if block.get("type") == "tool_result":
            output = flatten(block.get("content"))
            yield ToolResult(
                id=as_text(block.get("tool_use_id")), output=output, is_error=block.get("is_error") is True
            )
        elif as_text(block.get("text")).startswith("[Request interrupted"):
            yield Notice(text=as_word(block.get("text")))


def _stream_event(line: Object) -> Parts:
    event = as_object(line.get("event"))
    if line.get("parent_tool_use_id"):
        return
    delta = as_object(event.get("delta"))
    if delta.get("type") == "text_delta":
        yield TextDelta(text=as_text(delta.get("text")))
        return
    match event.get("type"):
        case "message_start":
            yield RequestBegins()
        case "content_block_start" if (block := as_object(event.get("content_block"))).get("type") in _CALLS:
            yield ToolBegins(as_text(block.get("id")), as_word(block.get("name")))
        case "content_block_delta" if delta.get("type") == "input_json_delta":
            yield ToolPiece(as_text(delta.get("partial_json")))
        case "message_delta":
            usage = as_object(event.get("usage"))
            yield from _context(usage)
            yield RequestEnds(as_count(usage.get("input_tokens")), as_count(usage.get("output_tokens")))


def _result(line: Object) -> Parts:
    usage = as_object(line.get("usage"))
    since = as_object(line.get("model_usage_since_last_result"))
    used = [as_object(part) for part in since.values()] if since else []
    models = as_object(line.get("modelUsage"))
    windows = {name: as_count(as_object(part).get("contextWindow")) for name, part in models.items()}
    errors = line.get("errors")
    text = as_text(line.get("result")) or "; ".join(part for part in errors or () if isinstance(part, str))
    yield Result(
        is_error=line.get("is_error") is not False,
        subtype=as_word(line.get("subtype")),
        reason=as_word(line.get("terminal_reason")),
        status=as_count(line.get("api_error_status")),
        error=as_word(line.get("api_error")),
        text=as_sentence(text),
        origin=as_word(as_object(line.get("origin")).get("kind")),
        session=as_text(line.get("session_id")),
        input=_sum(used, "inputTokens", "cacheCreationInputTokens")
        if used
        else _sum([usage], "input_tokens", "cache_creation_input_tokens"),
        output=_sum(used, "outputTokens") if used else _sum([usage], "output_tokens"),
        cached=_sum(used, "cacheReadInputTokens") if used else _sum([usage], "cache_read_input_tokens"),
        dollars=_dollars(used, "model_usage_since_last_result" in line),
        total=as_amount(line.get("total_cost_usd")),
        windows={name: window for name, window in windows.items() if window},
    )


def _sum(parts: list[Object], *keys: str) -> int | None:
    counts = [count for part in parts for key in keys if (count := as_count(part.get(key))) is not None]
    return sum(counts) if counts else None


def _dollars(used: list[Object], reported: bool) -> float | None:
    return sum(as_amount(part.get("costUSD")) or 0.0 for part in used) if reported else None


def _lifecycle(line: Object) -> Parts:
    yield Lifecycle(as_text(line.get("command_uuid")), as_word(line.get("state")))


def _rate_limit(line: Object) -> Parts:
    info = as_object(line.get("rate_limit_info"))
    status, resets = as_word(info.get("status")), as_amount(info.get("resetsAt"))
    if status != "allowed":
        share = as_amount(info.get("utilization"))
        used = f", {share:.0%} used" if share is not None else ""
        yield Notice(level="warn", text=f"limit of the account: {status} ({as_word(info.get('rateLimitType'))}{used})")
    yield RateLimit(status == "rejected", resets)


def _request(line: Object) -> Parts:
    request = as_object(line.get("request"))
    kind, tool = as_word(request.get("subtype")), as_word(request.get("tool_name"))
    if kind == "can_use_tool":
        yield Notice(level="warn", text=f"{tool} needs a permission that agent.toml does not give")
    yield Question(as_text(line.get("request_id")), kind, tool)


def _response(line: Object) -> Parts:
    response = as_object(line.get("response"))
    failed = response.get("subtype") != "success"
    error = (as_sentence(response.get("error")) or "it was refused") if failed else ""
    yield Answer(as_text(response.get("request_id")), error)


def _nothing(line: Object) -> Parts:
    yield from ()


READERS: Mapping[str, Callable[[Object], Parts]] = {
    "assistant": _assistant,
    "user": _user,
    "stream_event": _stream_event,
    "system": read_system,
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

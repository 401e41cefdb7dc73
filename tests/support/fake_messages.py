"""The answers of a scripted Messages API, and their form: the pure part of `fake_messages_api`.

A *step* is a dict that describes the answer to one POST /v1/messages:

    {"text": "hello"}                              plain answer, stop_reason end_turn
    {"text": "let me see", "tool": "mcp__hive__send", "input": {"to": "bob"}}
    {"tools": [["Bash", {"command": "ls"}], ["Read", {"file_path": "/x"}]]}
    {"thinking": "hmm", "text": "hello"}           thinking block first
    {"error": 529}                                 HTTP error (type and message are filled in)
    {"error": 529, "times": 2, "then": {"text": "ok"}}   fail twice, then answer
    {"error": 400, "kind": "prompt_too_long"}      the context-overflow answer
    {"text": "...", "chunks": 40, "delay": 0.25}   slow stream: 40 deltas, 0.25 s apart
    {"hang": 30}                                   accept, then send nothing for 30 s
    {"text": "...", "cut": 3}                      drop the connection after 3 SSE events
    {"stream_error": 529, "text": "part"}          200, some text, then an SSE `error` event
    any of these plus "usage": {...}, "stop_reason": "max_tokens", "headers": {...}, "model": "..."

In a queue the value of a header may be a function, which is called for each answer, and `"until": event` waits for a
`threading.Event` before the answer.

A text of a tool's input that is `@@found PATTERN` stands for the newest match in what the tools returned so far: so one
plan can use the result of its own steps.

A prompt can carry its own script: `@@plan [step, ...]`, or the shorthands `@@text words`, `@@tool NAME {json}`,
`@@error 529`, `@@slow`, `@@hang`, `@@overflow`. The step used is number N = assistant messages since that prompt, so
one plan scripts a whole loop of tools, needs no side channel and survives retries and resumed sessions.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Json = dict[str, Any]
Step = Json

ERRORS: Mapping[int, tuple[str, str]] = {
    400: ("invalid_request_error", "bad request (scripted)"),
    401: ("authentication_error", "invalid x-api-key"),
    403: ("permission_error", "forbidden (scripted)"),
    404: ("not_found_error", "model: not found (scripted)"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your account's rate limit (scripted)"),
    500: ("api_error", "Internal server error"),
    529: ("overloaded_error", "Overloaded"),
}
MESSAGES: Mapping[str, str] = {
    "prompt_too_long": "prompt is too long: 215000 tokens > 200000 maximum",
    "low_credit": "Your credit balance is too low to access the Anthropic API.",
}
_COMPACT = ("create a detailed summary of the conversation", "detailed summary of the RECENT")
_FRAME = re.compile(r"----- message (\d+) begins (\w+) -----\n(.*)\n----- message \1 ends \2 -----", re.DOTALL)
"""The lines between which the harness puts a message."""
_FOUND = "@@found "
_SCRIPT = re.compile(r"@@(plan|text|tool|error|slow|overflow|hang)\b[ \t]*(.*)", re.DOTALL)


class Event(NamedTuple):
    """One server-sent event of a streamed answer. `delta`: it is a piece of the content."""

    name: str
    data: Json
    delta: bool = False


# reading requests
def texts(message: Json) -> list[str]:
    """Return the texts of a message, without tool results and system reminders."""
    content = message.get("content", "")
    parts = [content] if isinstance(content, str) else [b.get("text", "") for b in content if b.get("type") == "text"]
    return [part for part in parts if part and not part.lstrip().startswith("<system-reminder>")]


def last_user_text(body: Json) -> str:
    """Return the last text of the user."""
    users = (message for message in reversed(body.get("messages", [])) if message.get("role") == "user")
    return next((found[-1] for message in users if (found := texts(message))), "")


def unframed(text: str) -> str:
    """Return the message in a prompt of the harness; another text as it is."""
    match = _FRAME.search(text)
    return text if match is None else match[3]


def tool_results(body: Json) -> list[Json]:
    """Return every tool result that the model was shown: {"tool_use_id", "content", "is_error"?}."""
    contents = (message.get("content") for message in body.get("messages", []))
    blocks = (block for content in contents if isinstance(content, list) for block in content)
    return [block for block in blocks if block.get("type") == "tool_result"]


def classify(body: Json) -> str:
    """Return the kind of a request: main, compact or aux (title, quota probe).

    The kind follows from the CLI's known requests.
    """
    if any(mark in last_user_text(body) for mark in _COMPACT):
        return "compact"
    structured = "format" in (body.get("output_config") or {}) or "output_format" in body
    return "aux" if body.get("max_tokens") == 1 or (structured and not body.get("tools")) else "main"


def parse_script(text: str) -> list[Step] | None:
    """Return the steps in a prompt; None if it has none."""
    match = _SCRIPT.search(unframed(text))
    if match is None:
        return None
    word, rest = match[1], match[2].strip()
    if word == "plan":
        plan: list[Step] = json.JSONDecoder().raw_decode(rest)[0]
        return plan
    if word == "tool":
        name, _, raw = rest.partition(" ")
        given = json.JSONDecoder().raw_decode(raw.strip())[0] if raw.strip() else {}
        return [{"tool": name, "input": given}, {"text": f"done: {name}"}]
    single: Mapping[str, Step] = {
        "text": {"text": rest},
        "slow": {"text": "tick " * 200, "chunks": 200, "delay": 0.25},
        "hang": {"hang": 120},
        "overflow": {"error": 400, "kind": "prompt_too_long"},
    }
    return [{"error": int(rest.split()[0])} if word == "error" else single[word]]


def scripted(body: Json, habits: Mapping[str, list[Step]] = {}) -> tuple[str, Step] | None:
    """Return (key, step) of the newest script in the conversation. Count the assistant's messages since then.

    `habits` are scripts for texts that have none: of each the words by which the model knows what to do.
    """
    after = 0
    for message in reversed(body.get("messages", [])):
        after += message.get("role") == "assistant"
        if message.get("role") != "user":  # newer models get messages with the role "system" too
            continue
        for piece in reversed(texts(message)):
            if (plan := parse_script(piece) or _learned(piece, habits)) is not None:
                key = hash(json.dumps(plan))  # not of all the text: a message that comes again stands in another one
                step = plan[after] if after < len(plan) else {"text": "the plan is over"}
                return f"{key}:{after}", _filled(step, body)
        if texts(message):
            return None  # a newer text of the user without a script takes over
    return None


def _learned(text: str, habits: Mapping[str, list[Step]]) -> list[Step] | None:
    return next((steps for mark, steps in habits.items() if mark in text), None)


def _filled(step: Step, body: Json) -> Step:
    """Return the step with what its input looks for in the tools' results."""
    given = step.get("input")
    if not isinstance(given, dict) or not any(str(value).startswith(_FOUND) for value in given.values()):
        return step
    seen = "\n".join(json.dumps(result["content"]) for result in tool_results(body))
    return {**step, "input": {name: _found(value, seen) for name, value in given.items()}}


def _found(value: object, seen: str) -> object:
    if not isinstance(value, str) or not value.startswith(_FOUND):
        return value
    return next(iter(re.findall(value.removeprefix(_FOUND), seen)[::-1]), f"nothing like {value}")


# building answers
def error_body(status: int, kind: str | None = None, message: str | None = None) -> Json:
    """Return the body of an HTTP error."""
    name, text = ERRORS.get(status, ("api_error", "scripted error"))
    error = {"type": name, "message": message or MESSAGES.get(kind or "", text)}
    return {"type": "error", "error": error, "request_id": f"req_fake{uuid.uuid4().hex[:12]}"}


def message_of(step: Step, body: Json) -> Json:
    """Return the whole answer."""
    blocks = _blocks(step)
    usage = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": max(1, len(json.dumps(blocks)) // 4),
        "service_tier": "standard",
        **step.get("usage", {}),
    }
    stop = "tool_use" if any(block["type"] == "tool_use" for block in blocks) else "end_turn"
    return {
        "id": f"msg_{uuid.uuid4().hex[:24]}",
        "type": "message",
        "role": "assistant",
        "model": step.get("model") or body.get("model", "fake"),
        "content": blocks,
        "stop_reason": step.get("stop_reason", stop),
        "stop_sequence": None,
        "usage": usage,
    }


def _blocks(step: Step) -> list[Json]:
    blocks: list[Json] = []
    if step.get("thinking"):
        blocks.append({"type": "thinking", "thinking": step["thinking"], "signature": "ZmFrZQ=="})
    if step.get("text"):
        blocks.append({"type": "text", "text": step["text"]})
    calls = [[step["tool"], step.get("input", {})]] if step.get("tool") else []
    for name, given in [*calls, *step.get("tools", [])]:
        blocks.append({"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex[:24]}", "name": name, "input": given})
    return blocks or [{"type": "text", "text": ""}]


def events_of(message: Json, chunks: int) -> Iterator[Event]:
    """Return the events of a streamed answer."""
    usage = {**message["usage"], "output_tokens": 1}
    yield Event("message_start", {"message": {**message, "content": [], "stop_reason": None, "usage": usage}})
    for index, block in enumerate(message["content"]):
        shell, deltas = _deltas(block, chunks)
        yield Event("content_block_start", {"index": index, "content_block": shell})
        for delta in deltas:
            yield Event("content_block_delta", {"index": index, "delta": delta}, True)
        yield Event("content_block_stop", {"index": index})
    delta = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield Event("message_delta", {"delta": delta, "usage": message["usage"]})
    yield Event("message_stop", {})


def _deltas(block: Json, chunks: int) -> tuple[Json, list[Json]]:
    """Return the start of a block, and the deltas of its content."""
    match block["type"]:
        case "text":
            pieces = [{"type": "text_delta", "text": piece} for piece in _pieces(block["text"], chunks)]
            return {"type": "text", "text": ""}, pieces
        case "thinking":
            pieces = [{"type": "thinking_delta", "thinking": piece} for piece in _pieces(block["thinking"], chunks)]
            pieces.append({"type": "signature_delta", "signature": block["signature"]})
            return {"type": "thinking", "thinking": "", "signature": ""}, pieces
        case _:
            given = json.dumps(block["input"])
            pieces = [{"type": "input_json_delta", "partial_json": piece} for piece in _pieces(given, chunks)]
            return {**block, "input": {}}, pieces


def _pieces(text: str, count: int) -> list[str]:
    size = max(1, -(-len(text) // max(1, count)))
    return [text[start : start + size] for start in range(0, len(text), size)] or [""]

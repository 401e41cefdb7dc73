"""Requests and answers of the APIs that `fake_openai_api` stands in for. Pure."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
Event = tuple[str | None, Json | str, bool]
"""Name, data, and if it is a piece of text."""

_PLAN = re.compile(r"@@(plan|text|tool|error)\b[ \t]*(.*)", re.DOTALL)
_CODES = {400: "invalid_value", 401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
_STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}
_TEXTS = {
    "overflow": "Your input exceeds the context window of this model. Please adjust your input and try again.",
    "model": "The model `x` does not exist or you do not have access to it.",
}
_GEMINI_TEXTS = {
    "overflow": "The input token count (1100000) exceeds the maximum number of tokens allowed (1048576).",
    "model": "models/x is not found for API version v1beta, or is not supported for generateContent.",
}
_ROUTE = {
    "reasoning": "scripted",
    "next_speaker": "user",
    "model_choice": "flash",
    "complexity_score": 10,
    "complexity_reasoning": "scripted",
}


@dataclass(frozen=True)
class Question:
    """One call: ("user", text) and ("model", "") in order, the offered tools, and the fixed answer if it gets one."""

    turns: list[tuple[str, str]]
    offered: list[str]
    canned: str
    answer: Callable[[Json, Json], Iterator[Event]]
    gemini: bool = False
    whole: bool = False

    @property
    def last(self) -> str:
        """Return the last text of the user."""
        return next((text for who, text in reversed(self.turns) if who == "user" and text), "")


def question_of(path: str, body: Json) -> Question | None:
    """Return what a request asks; None if this API is not known."""
    if path.endswith("/responses"):
        return _responses(body)
    if path.endswith("/chat/completions"):
        turns = [
            ("model" if one["role"] == "assistant" else one["role"], _text(one.get("content")))
            for one in body["messages"]
        ]
        offered = [tool["function"]["name"] for tool in body.get("tools", [])]
        return Question(turns, offered, "" if offered else "Fake title", _answer_chat(offered))
    if re.search(r":(streamG|g)enerateContent", path):
        return _gemini(path, body)
    return None


def scripted(question: Question) -> Json | None:
    """Return the step of the newest script in the conversation."""
    after = 0
    for who, text in reversed(question.turns):
        after += who == "model"
        steps = _plan(text) if who == "user" and text else None
        if steps is not None:
            return steps[after] if after < len(steps) else {"text": "plan is over"}
    return None


def error_body(step: Json, *, gemini: bool) -> Json:
    """Return the body of an error."""
    status, kind = step["error"], step.get("kind", "")
    if gemini:
        message = _GEMINI_TEXTS.get(kind, f"scripted {status}")
        return {"error": {"code": status, "message": message, "status": _STATUS.get(status, "UNAVAILABLE")}}
    code = "context_length_exceeded" if kind == "overflow" else _CODES.get(status, "server_error")
    what = "invalid_request_error" if status in (400, 404) else code
    return {"error": {"message": _TEXTS.get(kind, f"scripted {status}"), "code": code, "param": None, "type": what}}


def gemini_frame(
    step: Json, text: str, body: Json, *, end: str | None = "STOP", calls: list[Json] | None = None
) -> Json:
    """Return an answer of Gemini, or with `end` None a piece of one."""
    if end and not calls and "json" in str(body.get("generationConfig", {}).get("responseMimeType", "")):
        text = json.dumps(_ROUTE)
    parts = [{"text": text}] if text or not calls else []
    content = {"role": "model", "parts": [*parts, *(calls or [])]}
    frame: Json = {"candidates": [{"index": 0, "content": content}], "modelVersion": "gemini-fake", "responseId": "r1"}
    if end:
        frame["candidates"][0]["finishReason"] = end
        given, cached, made = step.get("usage", (10, 0, 5))
        frame["usageMetadata"] = {
            "promptTokenCount": given,
            "cachedContentTokenCount": cached,
            "candidatesTokenCount": made,
            "totalTokenCount": given + made,
        }
    return frame


def _plan(text: str) -> list[Json] | None:
    match = _PLAN.search(text)
    if match is None:
        return None
    word, rest = match.group(1), match.group(2).strip()
    name, _, raw = rest.partition(" ")
    try:
        if word == "plan":
            steps: list[Json] = json.JSONDecoder().raw_decode(rest)[0]
            return steps
        if word == "tool":
            given = json.JSONDecoder().raw_decode(raw.strip() or "{}")[0]
            return [{"tool": name, "input": given}, {"text": f"done: {name}"}]
    except ValueError:
        return None  # a quotation of a script, not one
    return [{"text": rest} if word == "text" else {"error": int(rest.split()[0])}]


def _calls(step: Json, offered: list[str]) -> list[tuple[str, Json]]:
    wanted = step.get("tool")
    if not wanted:
        return []
    return [(next((name for name in offered if name.endswith(wanted)), wanted), step.get("input", {}))]


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text") or "" for part in content) if isinstance(content, list) else ""


def _pieces(step: Json) -> list[str]:
    text, count = step.get("text", ""), step.get("chunks", 3)
    size = max(1, -(-len(text) // max(1, count)))
    return [text[at : at + size] for at in range(0, len(text), size)]


def _responses(body: Json) -> Question:
    turns: list[tuple[str, str]] = []
    before = False
    given = body["input"]
    for item in given if isinstance(given, list) else [{"role": "user", "content": given}]:
        if item.get("role") == "user":
            turns.append(("user", _text(item["content"])))
        kind = item.get("type", "")
        model = item.get("role") == "assistant" or kind.endswith("_call") or kind == "reasoning"
        if model and not before:
            turns.append(("model", ""))  # items side by side are one answer
        before = model
    schema = body.get("text", {}).get("format", {}).get("schema", {}).get("properties", {})
    spaces = {
        tool["name"]: space["name"]
        for space in body.get("tools", [])
        if space["type"] == "namespace"
        for tool in space["tools"]
    }
    offered = [tool.get("name", tool["type"]) for tool in body.get("tools", []) if tool["type"] != "namespace"]
    canned = json.dumps(
        {key: part.get("enum", ["allow" if key == "outcome" else "Fake"])[0] for key, part in schema.items()}
    )
    offered = [*offered, *spaces]
    return Question(
        turns, offered, canned if schema else "" if offered else "Fake title", _answer_responses(offered, spaces)
    )


def _answer_responses(offered: list[str], spaces: dict[str, str]) -> Callable[[Json, Json], Iterator[Event]]:
    def output_of(step: Json) -> list[Json]:
        output: list[Json] = []
        if step.get("thinking"):
            summary = [{"type": "summary_text", "text": step["thinking"]}]
            output.append({"type": "reasoning", "id": "rs_" + uuid.uuid4().hex, "summary": summary})
        if step.get("text") or not step.get("tool"):
            content = [{"type": "output_text", "text": step.get("text", ""), "annotations": []}]
            message = {"type": "message", "id": "msg_" + uuid.uuid4().hex, "role": "assistant", "status": "completed"}
            output.append({**message, "content": content})
        for name, arguments in _calls(step, offered):
            call = {"type": "function_call", "id": "fc_" + uuid.uuid4().hex, "call_id": "call_" + uuid.uuid4().hex}
            space = {"namespace": spaces[name]} if name in spaces else {}
            output.append({**call, **space, "name": name, "status": "completed", "arguments": json.dumps(arguments)})
        return output

    def answer(step: Json, body: Json) -> Iterator[Event]:
        output = output_of(step)
        given, cached, made = step.get("usage", (10, 0, 5))
        usage = {
            "input_tokens": given,
            "input_tokens_details": {"cached_tokens": cached},
            "output_tokens": made,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": given + made,
        }
        done = {
            "id": "resp_" + uuid.uuid4().hex,
            "object": "response",
            "status": "completed",
            "model": body.get("model"),
        }
        done |= {"output": output, "usage": usage}

        def event(name: str, piece: bool = False, **data: Any) -> Event:
            return name, {"type": name, **data}, piece

        yield event("response.created", response={**done, "status": "in_progress", "output": []})
        for index, item in enumerate(output):
            empty: Json = {"content": []} if "content" in item else {}
            yield event(
                "response.output_item.added", output_index=index, item={**item, "status": "in_progress", **empty}
            )
            for piece in _pieces(step) if item["type"] == "message" else ():
                where = {"output_index": index, "item_id": item["id"], "content_index": 0}
                yield event("response.output_text.delta", True, **where, delta=piece)
            yield event("response.output_item.done", output_index=index, item=item)
        yield event("response.completed", response=done)

    return answer


def _answer_chat(offered: list[str]) -> Callable[[Json, Json], Iterator[Event]]:
    def answer(step: Json, body: Json) -> Iterator[Event]:
        given, cached, made = step.get("usage", (10, 0, 5))
        usage = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
        usage["prompt_tokens_details"] = {"cached_tokens": cached}
        head = {"id": "chatcmpl-" + uuid.uuid4().hex, "created": 1, "model": body.get("model")}
        head["object"] = "chat.completion.chunk"

        def chunk(delta: Json, end: str | None = None, **more: Any) -> Event:
            choices = [{"index": 0, "delta": delta, "finish_reason": end}]
            return None, {**head, "choices": choices, **more}, bool(delta.get("content"))

        yield chunk({"role": "assistant", "content": ""})
        for piece in _pieces(step):
            yield chunk({"content": piece})
        calls = [
            {
                "index": at,
                "id": f"call_{uuid.uuid4().hex[:20]}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(given_)},
            }
            for at, (name, given_) in enumerate(_calls(step, offered))
        ]
        if calls:
            yield chunk({"tool_calls": calls})
        yield chunk({}, "tool_calls" if calls else "stop", usage=usage)
        yield None, "[DONE]", False

    return answer


def _gemini(path: str, body: Json) -> Question:
    turns: list[tuple[str, str]] = []
    for content in body.get("contents", []):  # after a killed turn two prompts are parts of one content
        parts = [("user", part.get("text") or "") for part in content.get("parts", [])]
        turns += [("model", "")] if content.get("role") == "model" else parts
    offered = [one["name"] for tool in body.get("tools", []) for one in tool.get("functionDeclarations", [])]
    aux = not offered or "json" in str(body.get("generationConfig", {}).get("responseMimeType", ""))

    def answer(step: Json, body: Json) -> Iterator[Event]:
        for piece in _pieces(step):
            yield None, gemini_frame(step, piece, body, end=None), True
        calls = [
            {"functionCall": {"id": "fc-" + uuid.uuid4().hex[:12], "name": name, "args": given}}
            for name, given in _calls(step, offered)
        ]
        yield None, gemini_frame(step, "", body, calls=calls), False

    return Question(turns, offered, "Fake title" if aux else "", answer, gemini=True, whole="stream" not in path)

"""The tools for sub-agents as the Model Context Protocol: one message in JSON-RPC, and its answer.

The transport is streamable HTTP without a session: each body is one request, and its answer is JSON. A notification or
an answer of the client gets 202 and nothing else. No body raises: it may come from any program of the container that
has the token.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from harness.runtimes.json_line import parse
from harness.subagents.tools import INSTRUCTIONS, TOOLS, SubAgents, Tool
from meta.errors import HiveError

log = logging.getLogger(__name__)

BODY_BYTES = 256 * 1024
"""The longest body that is read."""
INLINE_BYTES = 4 * 1024
"""A longer body is parsed in a thread."""
CALL_SECONDS = 120.0
"""Seconds that a call may take."""
TEXT_LIMIT = 100_000
"""Characters of a tool's answer. Of a longer one the end is kept."""
ID_LENGTH = 256

VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""The versions of the protocol that begin with `initialize`. Who asks for another one is offered the newest."""

PARSE_ERROR, INVALID_REQUEST, NO_METHOD, INVALID_PARAMS = -32700, -32600, -32601, -32602

Id = int | str


@dataclass(frozen=True, slots=True)
class Request:
    """A request that is to be answered."""

    id: Id
    method: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a body is no request: an error of JSON-RPC, and the status of HTTP."""

    code: int
    text: str
    id: Id | None = None
    status: int = 400


async def answer(body: bytes, agents: SubAgents) -> tuple[int, bytes]:
    """Answer one body: return the status of HTTP and the JSON, which is empty if there is nothing to answer."""
    if len(body) > BODY_BYTES:
        return _error(Problem(INVALID_REQUEST, f"the body has more than {BODY_BYTES} bytes", status=413))
    found = read_body(body) if len(body) <= INLINE_BYTES else await asyncio.to_thread(read_body, body)
    match found:
        case None:
            return 202, b""
        case Problem():
            return _error(found)
        case Request(id, "initialize", params):
            return _result(id, _introduction(params))
        case Request(id, "ping"):
            return _result(id, {})
        case Request(id, "tools/list"):
            return _result(id, {"tools": [_description(tool) for tool in TOOLS.values()]})
        case Request(id, "tools/call", params):
            return await _call(id, params, agents)
        case Request(id, method):
            return _error(Problem(NO_METHOD, f"there is no method {method[:60]!r}", id, 200))


def read_body(body: bytes) -> Request | Problem | None:
    """Return the request in a body, or why there is none. None: a notification, or the answer to a request. Pure."""
    try:
        value = parse(body)
    except ValueError:
        return Problem(PARSE_ERROR, "the body is no JSON, too deep, or has too many values")
    if not isinstance(value, dict):
        return Problem(INVALID_REQUEST, "the body is no object: requests come one by one")
    id, method, params = value.get("id"), value.get("method"), value.get("params")
    if value.get("jsonrpc") != "2.0":
        return Problem(INVALID_REQUEST, 'jsonrpc is not "2.0"')
    if "id" in value and not is_id(id):
        return Problem(INVALID_REQUEST, "the id is neither a whole number nor a short text")
    if "method" not in value and ("result" in value or "error" in value):
        return None
    if not isinstance(method, str):
        return Problem(INVALID_REQUEST, "the method is missing or no text", id)
    if not is_id(id):
        return None
    if params is not None and not isinstance(params, dict):
        return Problem(INVALID_PARAMS, "params is no object", id, 200)
    return Request(id, method, params or {})


def is_id(id: object) -> TypeGuard[Id]:
    """Return True if a request may have this id."""
    return (type(id) is int and abs(id) < 2**63) or (isinstance(id, str) and len(id) <= ID_LENGTH)


def _introduction(params: Mapping[str, Any]) -> dict[str, Any]:
    wanted = params.get("protocolVersion")
    return {
        "protocolVersion": wanted if wanted in VERSIONS else VERSIONS[-1],
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "hive-pods", "version": "1"},
        "instructions": INSTRUCTIONS,
    }


def _description(tool: Tool) -> dict[str, Any]:
    hints = {"readOnlyHint": tool.reads, "destructiveHint": tool.ends, "openWorldHint": False}
    return {
        "name": tool.name,
        "description": tool.description,
        "inputSchema": tool.schema,
        "annotations": hints,
    }


async def _call(id: Id, params: Mapping[str, Any], agents: SubAgents) -> tuple[int, bytes]:
    name, arguments = params.get("name"), params.get("arguments")
    if not isinstance(name, str) or name not in TOOLS:
        text = f"there is no tool {name[:60]!r}" if isinstance(name, str) else "the tool's name is missing"
        return _error(Problem(INVALID_PARAMS, text, id, 200))
    if arguments is not None and not isinstance(arguments, dict):
        return _error(Problem(INVALID_PARAMS, "arguments is no object", id, 200))
    text, failed = await _text_of(name, arguments or {}, agents)
    return _result(id, {"content": [{"type": "text", "text": _cut(text)}], "isError": failed})


async def _text_of(name: str, arguments: Mapping[str, Any], agents: SubAgents) -> tuple[str, bool]:
    """Return what the tool says, and if it failed. Whatever fails in it, the model gets an answer."""
    limit = asyncio.timeout(CALL_SECONDS)
    try:
        async with limit:
            return await TOOLS[name].call(agents, arguments), False
    except HiveError as error:
        return f"error: {error.describe()}", True
    except Exception as error:
        if limit.expired():
            return f"error: {name} took longer than {CALL_SECONDS:g} s; list_pods shows what became of it", True
        log.exception("the tool %s failed", name)
        return f"error: the harness failed: {type(error).__name__} (list_pods shows what became of it)", True


def _cut(text: str) -> str:
    text = text.encode("utf-8", "replace").decode()
    before = len(text) - TEXT_LIMIT
    return text if before <= 0 else f"[{before} characters before this are left out]\n{text[before:]}"


def _result(id: Id, result: Mapping[str, Any]) -> tuple[int, bytes]:
    return 200, _json({"jsonrpc": "2.0", "id": id, "result": result})


def _error(problem: Problem) -> tuple[int, bytes]:
    error = {"code": problem.code, "message": problem.text}
    return problem.status, _json({"jsonrpc": "2.0", "id": problem.id, "error": error})


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")

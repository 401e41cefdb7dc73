"""The conversation of an agent: begun, resumed or loaded, with hive's tools, and in the mode in which it never asks."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.runtimes.acp.launch import Json
from harness.runtimes.acp.peer import AgentError
from harness.runtimes.acp.process import Process
from harness.runtimes.acp.rules import ending_of, look_up
from harness.runtimes.acp.table import Preset
from harness.runtimes.base import Ending, RuntimeSpec, Sink
from harness.runtimes.servers import usable_servers
from meta.errors import PermanentError
from meta.names import AgentName
from meta.text import one_line

START_SECONDS = 120.0
"""Seconds for `initialize`: a first start was seen to take 18 s on a busy machine."""

SESSION_SECONDS = 60.0
"""Seconds for each other request but the prompt. Some agents wait here for MCP servers."""

_QUIET_SECONDS = 0.5
_REPLAY_SECONDS = 30.0
_MADE = "@"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The conversation to continue, None for a new one, and the model, None for the agent's default."""

    session: str | None
    model: str | None


async def introduce(process: Process, preset: Preset) -> None:
    """Say which protocol hive speaks. Raise PermanentError if the agent speaks only another."""
    capabilities: Json = {"fs": {"readTextFile": False, "writeTextFile": False}, "terminal": False}
    if preset.client_meta:
        capabilities["_meta"] = dict(preset.client_meta)
    about = {"name": "hive", "title": "hive", "version": "1"}
    answer = await process.peer.request(
        "initialize",
        {"protocolVersion": 1, "clientCapabilities": capabilities, "clientInfo": about},
        START_SECONDS,
    )
    version = look_up(answer, ("protocolVersion",))
    if version != 1:
        raise PermanentError(
            one_line(f"the agent speaks version {version!r} of the Agent Client Protocol, hive speaks 1"),
            preset.install,
        )
    number = look_up(answer, ("agentInfo", "version"))
    if isinstance(number, str):
        check_version(preset, number)
    found = look_up(answer, ("agentCapabilities",))
    process.capabilities = found if isinstance(found, dict) else {}


def check_version(preset: Preset, text: str) -> str:
    """Return the version in a text that ends with it, "" if there is none. Raise PermanentError if it is too old."""
    match = re.search(r"(\d{1,9}(?:\.\d{1,9})+)\S*\s*$", text[:200])
    if match is None:
        return ""
    if tuple(map(int, match.group(1).split("."))) < preset.minimum:
        least = ".".join(map(str, preset.minimum))
        raise PermanentError(f"{preset.name} is {match.group(1)}, hive needs {least} or newer", preset.install)
    return match.group(1)


async def converse(
    process: Process, preset: Preset, spec: RuntimeSpec, extra: Mapping[str, Any], wanted: Wanted, sink: Sink
) -> tuple[str, bool]:
    """Continue the wanted conversation, or begin one; return its name for the next time, and if it is new.

    Raise AgentError if there can be none now: the login is missing, or the agent is busy with another one.
    """
    params: Json = {"cwd": str(spec.enclosure.work), "mcpServers": servers(spec, process.capabilities, sink), **extra}
    if preset.system_prompt == "append" and spec.prompt:
        params["systemPrompt"] = {"mode": "append", "content": [{"type": "text", "text": spec.prompt}]}
    answer: object = None
    session = wanted.session
    if session is not None:
        answer = await _continue(process, preset, params, session, sink)
    new = answer is None
    if answer is None:
        answer = await process.peer.request("session/new", params, SESSION_SECONDS)
        name = look_up(answer, ("sessionId",))
        if not isinstance(name, str) or not name:
            raise PermanentError("the agent began a conversation without an id", preset.install)
        process.session = name
        session = f"{name}{_MADE}{int(time.time())}" if preset.load_next_minute else name
    rules = spec.settings.permissions
    mode = preset.asking_mode if preset.asking_mode and (rules.allow or rules.deny) else preset.mode
    await _set_mode(process, mode, answer, sink)
    if preset.model_by_session and wanted.model is not None:
        await _set_model(process, answer, wanted.model, spec.agent)
    return session or "", new


def seconds_until_load(session: str, now: float) -> float:
    """Return how long to wait until the session can be loaded, by the time of its making in its name."""
    made = session.rpartition(_MADE)[2]
    if not made.isascii() or not made.isdecimal() or int(made) // 60 != int(now) // 60:
        return 0.0
    return 60.0 - now % 60 + 0.5


def servers(spec: RuntimeSpec, capabilities: Json, sink: Sink) -> list[Json]:
    """Return the MCP servers for the agent: hive's, and those of agent.toml. Those that it cannot use are noted."""
    found: list[Json] = []
    mcp = spec.enclosure.mcp
    if mcp is not None:
        found += [_http(name, url, {"Authorization": f"Bearer {mcp.token}"}) for name, url in mcp.servers.items()]
    for name, server in usable_servers(spec.settings, spec.enclosure, sink).items():
        if server.url is not None:
            found.append(_http(name, server.url, server.headers))
        elif server.command:
            program, *words = server.command
            found.append({"name": name, "command": program, "args": words, "env": _pairs(server.env)})
    if not takes_http(capabilities):
        for server_ in [one for one in found if one.get("type") == "http"]:
            found.remove(server_)
            sink.note(f"the agent cannot use MCP servers over http: {server_['name']} is missing")
    return found


def takes_http(capabilities: Json) -> bool:
    """Return True if the agent can use MCP servers over http, as hive's is one."""
    return look_up(capabilities, ("mcpCapabilities", "http")) is True


def _http(name: str, url: str, headers: Mapping[str, str]) -> Json:
    return {"type": "http", "name": name, "url": url, "headers": _pairs(headers)}


def _pairs(values: Mapping[str, str]) -> list[Json]:
    return [{"name": name, "value": value} for name, value in values.items()]


async def _continue(process: Process, preset: Preset, params: Json, session: str, sink: Sink) -> object:
    """Return the answer to resuming or loading; None if the conversation is lost, which is noted."""
    resume = isinstance(look_up(process.capabilities, ("sessionCapabilities", "resume")), dict)
    if not resume and process.capabilities.get("loadSession") is not True:
        sink.note("the agent cannot continue an earlier conversation: this is a new one")
        return None
    name = session.rpartition(_MADE)[0] if preset.load_next_minute and _MADE in session else session
    if preset.load_next_minute and not resume:
        seconds = seconds_until_load(session, time.time())
        if seconds:
            sink.note(f"waiting {seconds:.0f} s: the agent cannot load a conversation in the minute that it began in")
            await asyncio.sleep(seconds)
    process.replay()
    try:
        answer = await process.peer.request(
            "session/resume" if resume else "session/load", {**params, "sessionId": name}, SESSION_SECONDS
        )
        if not resume and preset.replay == "after":
            await _until_quiet(process)
    except AgentError as error:
        if ending_of(error.failure, preset.rules) in (Ending.NEEDS_LOGIN, Ending.PARKED):
            raise
        sink.note(one_line(f"the conversation cannot be continued, this is a new one: {error.failure.text}"))
        return None
    finally:
        process.replayed()
    process.session = name
    return answer or {}


async def _until_quiet(process: Process) -> None:
    """Wait until the agent replays nothing more."""
    before = -1
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_REPLAY_SECONDS):
            while before != process.replays:
                before = process.replays
                await asyncio.sleep(_QUIET_SECONDS)


async def _set_mode(process: Process, mode: str | None, answer: object, sink: Sink) -> None:
    if mode is None or look_up(answer, ("modes", "currentModeId")) == mode:
        return
    try:
        await process.peer.request("session/set_mode", {"sessionId": process.session, "modeId": mode}, SESSION_SECONDS)
    except AgentError as error:
        sink.note(one_line(f"the agent has no mode {mode}, so hive answers what it asks: {error.failure.text}"))


async def _set_model(process: Process, answer: object, model: str, agent: AgentName) -> None:
    """Choose the model as the agent offers it. Raise PermanentError if it offers no choice, or not this one."""
    options = look_up(answer, ("configOptions",))
    options = [one for one in options if isinstance(one, dict)] if isinstance(options, list) else []
    option: Json = next((one for one in options if one.get("category") == "model"), {})
    if model in (option.get("currentValue"), look_up(answer, ("models", "currentModelId"))):
        return
    if isinstance(option.get("id"), str):
        method, params = "session/set_config_option", {"configId": option["id"], "value": model}
    elif look_up(answer, ("models",)) is not None:
        method, params = "session/set_model", {"modelId": model}
    else:
        raise PermanentError(
            f"the agent offers no choice of models, so not {model}",
            "remove `model` from agent.toml, and the choice of `hive model`",
        )
    try:
        await process.peer.request(method, {"sessionId": process.session, **params}, SESSION_SECONDS)
    except AgentError as error:
        raise PermanentError(
            one_line(f"the agent does not take the model {model}: {error.failure.text}"),
            f"set another one by `hive model {agent} NAME`",
        ) from error

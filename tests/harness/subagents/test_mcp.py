"""The tools for sub-agents: what a model may ask for, and the protocol around it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.subagents import mcp
from harness.subagents.mcp import BODY_BYTES, TEXT_LIMIT, VERSIONS, answer
from harness.subagents.tools import INPUT_BYTES, TOOLS
from meta.errors import Conflict
from meta.scope.paths import RULES_LIMIT
from meta.wire.pod import Permission, ScopeRule
from tests.harness.subagents.fake_agents import FakeAgents

READ = {"target": "src", "permission": "read"}
SPAWN = {"name": "tests", "task": "run them", "scope": [READ]}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "spawn_pod": SPAWN,
    "send_to_pod": {"name": "tests", "input": "again"},
    "read_pod_output": {"name": "tests"},
    "stop_pod": {"name": "tests"},
    "list_pods": {},
}


@pytest.fixture
def agents() -> FakeAgents:
    return FakeAgents()


async def ask(agents: FakeAgents, method: object, params: object = None, **more: object) -> tuple[int, Any]:
    """Return the status and the answer to a request."""
    value = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params, **more}
    status, data = await answer(json.dumps(value).encode(), agents)
    return status, json.loads(data) if data else None


async def call(agents: FakeAgents, name: str, arguments: object) -> tuple[bool, str]:
    """Return whether a tool failed, and its text."""
    status, value = await ask(agents, "tools/call", {"name": name, "arguments": arguments})
    assert status == 200
    (content,) = value["result"]["content"]
    return value["result"]["isError"], content["text"]


# the tools
async def test_each_tool_reaches_its_method_with_what_the_model_gave(agents: FakeAgents) -> None:
    answers = [await call(agents, name, given) for name, given in ARGUMENTS.items()]
    assert answers == [(False, f"{word} is done") for word in ("spawn", "send", "read", "stop", "list")]
    rule = ScopeRule(target="src", permission=Permission.READ, recursive=True)
    assert agents.calls == [
        ("spawn", "tests", "run them", (rule,)),
        ("send", "tests", "again"),
        ("read", "tests"),
        ("stop", "tests"),
        ("list",),
    ]


async def test_a_rule_is_recursive_unless_it_says_no_and_null_says_nothing(agents: FakeAgents) -> None:
    scope = [{**READ, "recursive": value} for value in (True, False, None)]
    await call(agents, "spawn_pod", {**SPAWN, "scope": scope, "model": "unknown words do no harm"})
    ((*_, rules),) = agents.calls
    assert isinstance(rules, tuple)
    assert [rule.recursive for rule in rules] == [True, False, True]


@pytest.mark.parametrize(
    ("tool", "change", "words"),
    [
        ("spawn_pod", {"name": "pod"}, "name pod"),
        ("spawn_pod", {"name": "../x"}, "not a name"),
        ("spawn_pod", {"name": "a" * 41}, "not a name"),
        ("spawn_pod", {"name": None}, "name is missing"),
        ("spawn_pod", {"task": " "}, "task is empty"),
        ("spawn_pod", {"task": ["x"]}, "task is no text"),
        ("spawn_pod", {"task": "x" * (INPUT_BYTES + 1)}, "the limit is"),
        ("spawn_pod", {"scope": None}, "missing or empty"),
        ("spawn_pod", {"scope": []}, "missing or empty"),
        ("spawn_pod", {"scope": "src"}, "no list"),
        ("spawn_pod", {"scope": [READ] * (RULES_LIMIT + 1)}, "the limit is"),
        ("spawn_pod", {"scope": [READ, "src"]}, "rule 2 of scope"),
        ("spawn_pod", {"scope": [{"permission": "read"}]}, "no usable target"),
        ("spawn_pod", {"scope": [{**READ, "target": "a\0b"}]}, "no usable target"),
        ("spawn_pod", {"scope": [{**READ, "target": "x" * 4096}]}, "no usable target"),
        ("spawn_pod", {"scope": [{**READ, "permission": ["read"]}]}, "no usable permission"),
        ("spawn_pod", {"scope": [{**READ, "recursive": "no"}]}, "neither true nor false"),
        ("send_to_pod", {"input": ""}, "input is empty"),
        ("read_pod_output", {"name": 1}, "name is no text"),
        ("stop_pod", {"name": "a b"}, "not a name"),
    ],
)
async def test_what_is_wrong_is_named_with_what_helps_and_nothing_is_done(
    agents: FakeAgents, tool: str, change: dict[str, Any], words: str
) -> None:
    failed, text = await call(agents, tool, {**ARGUMENTS[tool], **change})
    assert failed
    assert words in text
    assert text.endswith(")"), "it says what to do"
    assert agents.calls == []


async def test_a_refusal_is_a_tools_error_with_its_hint(agents: FakeAgents) -> None:
    agents.error = Conflict("there is a pod named tests", "stop it first")
    assert await call(agents, "spawn_pod", SPAWN) == (True, "error: there is a pod named tests (stop it first)")


async def test_a_fault_of_the_harness_is_a_tools_error_and_logged(
    agents: FakeAgents, caplog: pytest.LogCaptureFixture
) -> None:
    agents.error = OSError("the disk is away")
    failed, text = await call(agents, "list_pods", {})
    assert failed
    assert "OSError" in text
    assert "the disk is away" in caplog.text


async def test_a_call_that_does_not_end_is_ended(agents: FakeAgents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp, "CALL_SECONDS", 0.01)
    agents.hold = asyncio.Event()
    failed, text = await call(agents, "stop_pod", ARGUMENTS["stop_pod"])
    assert failed
    assert "took longer" in text


async def test_of_a_text_that_is_too_long_the_end_is_kept_and_half_a_character_is_replaced(agents: FakeAgents) -> None:
    agents.text = "a" * TEXT_LIMIT + "the end\ud800"
    failed, text = await call(agents, "read_pod_output", ARGUMENTS["read_pod_output"])
    assert not failed
    assert text.startswith("[8 characters before this are left out]\n")
    assert text.endswith("the end?")


# the protocol
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_version_that_is_known_is_echoed(agents: FakeAgents, version: str) -> None:
    _, value = await ask(agents, "initialize", {"protocolVersion": version})
    assert value["result"]["protocolVersion"] == version
    assert value["result"]["capabilities"] == {"tools": {}}


@pytest.mark.parametrize("version", ["1999-01-01", ["2025-06-18"], None])
async def test_another_version_gets_the_newest(agents: FakeAgents, version: object) -> None:
    _, value = await ask(agents, "initialize", {"protocolVersion": version})
    assert value["result"]["protocolVersion"] == VERSIONS[-1]


async def test_the_list_has_each_tool_with_all_that_a_call_needs(agents: FakeAgents) -> None:
    _, value = await ask(agents, "tools/list")
    tools = {tool["name"]: tool for tool in value["result"]["tools"]}
    assert list(tools) == list(TOOLS) == list(ARGUMENTS)
    assert {name: set(tool["inputSchema"]["required"]) for name, tool in tools.items()} == {
        name: set(arguments) for name, arguments in ARGUMENTS.items()
    }
    assert "turn has ended" in tools["spawn_pod"]["description"]


async def test_a_ping_is_answered(agents: FakeAgents) -> None:
    assert await ask(agents, "ping", id="p") == (200, {"jsonrpc": "2.0", "id": "p", "result": {}})


@pytest.mark.parametrize(
    "body",
    [
        b'{"jsonrpc": "2.0", "method": "notifications/initialized"}',
        b'{"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "list_pods"}}',
        b'{"jsonrpc": "2.0", "id": 1, "result": {}}',
    ],
)
async def test_what_wants_no_answer_gets_none_and_does_nothing(agents: FakeAgents, body: bytes) -> None:
    assert await answer(body, agents) == (202, b"")
    assert agents.calls == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, -32700),
        (b"{", 400, -32700),
        (b"[" * 50_000, 400, -32700),
        (b"[" + b"1," * 120_000 + b"1]", 400, -32700),
        (b"1" * 5_000, 400, -32700),
        (b" " * (BODY_BYTES + 1), 413, -32600),
        (b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]', 400, -32600),
        (b'{"id": 1, "method": "ping"}', 400, -32600),
        (b'{"jsonrpc": "2.0", "id": null, "method": "ping"}', 400, -32600),
        (b'{"jsonrpc": "2.0", "id": true, "method": "ping"}', 400, -32600),
        (b'{"jsonrpc": "2.0", "id": 1e999, "method": "ping"}', 400, -32600),
        (b'{"jsonrpc": "2.0", "id": 1}', 400, -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "resources/list"}', 200, -32601),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []}', 200, -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "kill"}}', 200, -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": []}}', 200, -32602),
        (
            b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_pods", "arguments": 1}}',
            200,
            -32602,
        ),
    ],
)
async def test_what_is_no_request_has_its_error(agents: FakeAgents, body: bytes, status: int, code: int) -> None:
    found, data = await answer(body, agents)
    assert (found, json.loads(data)["error"]["code"]) == (status, code)
    assert agents.calls == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([*TOOLS, "2.0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
ARGUMENT = st.dictionaries(st.sampled_from(["name", "task", "scope", "input"]), JSON | st.just([READ]))
REQUEST = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0") | JSON, "method": st.sampled_from(["initialize", "tools/call", "tools/list"]) | JSON},
    optional={
        "id": st.integers(0, 9) | JSON,
        "params": st.fixed_dictionaries({}, optional={"name": st.sampled_from(list(TOOLS)), "arguments": ARGUMENT})
        | JSON,
    },
)


@given(st.binary() | REQUEST.map(lambda value: json.dumps(value).encode()) | JSON.map(lambda v: json.dumps(v).encode()))
async def test_no_body_raises_and_each_answer_is_json(body: bytes) -> None:
    status, data = await answer(body, FakeAgents())
    assert status in (200, 202, 400)
    assert (status == 202) == (data == b"")
    if data:
        assert json.loads(data)["jsonrpc"] == "2.0"

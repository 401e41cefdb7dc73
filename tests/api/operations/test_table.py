"""The table of operations, walked: each on exactly its surfaces, for exactly its principals, the same on each."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, cast, get_args

import pytest
from pydantic import TypeAdapter

from api.http.app import application
from api.http.requests import PATH_FIELD, Places
from api.operations.base import CALLER, RENAMED, AnyOperation, Call, Effect, Role, Route, Surface
from api.operations.table import ON_LINES, OPERATIONS, tools_of
from api.sockets.principals import Operator, Principal, principal_of
from meta.errors import HiveError
from meta.names import MANAGER, AgentName
from meta.wire.agent import AgentRequest
from meta.wire.codec import encode
from meta.wire.host import HostRequest
from meta.wire.manager import ManagerRequest
from reconciler.events.feed import Events
from reconciler.messaging.broker import Broker
from reconciler.store.database import Database
from tests.api.http.test_app import call as over_http
from tests.support.fake_service import ALICE, NOW, FakeService

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api.conftest import Hive

Json = dict[str, Any]
BY_NAME = {operation.name: operation for operation in OPERATIONS}
UNIONS = {Surface.HOST: HostRequest, Surface.MANAGER: ManagerRequest, Surface.AGENT: AgentRequest}
LINES = tuple(UNIONS)
RAW = {
    "pod_events",  # a stream
    "dashboard_link",
    "events",
    "live",
    "live_events",
    "backup",
    "metrics",
    "healthz",
    "wait",
    "state",
    "new_passkey",
}
"""Answers that are files, streams, new each time or full of times; each has tests of its own."""

EXAMPLES: dict[str, Json] = {
    "overview": {},
    "attention": {},
    "test_notify": {},
    "host": {},
    "doctor": {},
    "run_doctor": {"wait": 1},
    "list": {},
    "destroyed": {},
    "plan": {"agent": "alice"},
    "audit": {},
    "verify_audit": {},
    "log": {"limit": 1},
    "get_logs": {"agent": "alice", "lines": 3},
    "request_apply_commit": {"agent": "alice", "commit": "1111111", "description": "adds jq"},
    "pending": {},
    "proposal": {"id": 1},
    "refused": {},
    "waiting_tips": {},
    "diff": {"id": 1, "agent": "alice"},
    "build_log": {"id": 1, "agent": "alice"},
    "approve": {"id": 1},
    "deny": {"id": 1},
    "retry": {"id": 1},
    "rebase": {"id": 1},
    "cancel": {"id": 1, "reason": "no"},
    "spawn": {"agent": "bob"},
    "request_spawn": {"agent": "bob"},
    "kill": {"agent": "alice"},
    "start": {"agent": "alice"},
    "restart": {"agent": "alice"},
    "rebuild": {"agent": "alice"},
    "down": {"now": True},
    "stop_all": {"now": True},
    "start_all": {},
    "digest": {"since": 5.0, "details": 0},
    "login": {"agent": "alice"},
    "login_code": {"agent": "alice", "code": "a#b"},
    "login_cancel": {"agent": "alice"},
    "logout": {"agent": "alice"},
    "usage": {"agent": "alice", "turns": 3},
    "rebuild_all": {"now": True},
    "destroy": {"agent": "alice", "purge": True},
    "rollback": {"agent": "alice", "to": 1},
    "adopt": {"agent": "alice", "side": "meta"},
    "reconcile": {"agent": "alice"},
    "turn_pause": {"agent": "alice"},
    "turn_resume": {"agent": "alice"},
    "turn_cancel": {"agent": "alice"},
    "turn_compact": {"agent": "alice"},
    "turn_new_session": {"agent": "alice"},
    "pods": {"agent": "alice"},
    "pod_history": {"agent": "alice", "pod": "alice"},
    "pod_do": {"agent": "alice", "pod": "alice", "method": "shutdown"},
    "model": {"agent": "alice"},
    "set_model": {"agent": "alice", "name": "opus"},
    "network": {"agent": "alice"},
    "network_requests": {},
    "network_connections": {"agent": "alice", "after": 1},
    "network_suggest": {"agent": "alice", "group": "python"},
    "network_allow": {"agent": "alice", "rule": "crates.io", "seconds": 60},
    "network_deny": {"agent": "alice", "request": 3},
    "network_revoke": {"agent": "alice", "rule": "crates.io"},
    "request_network": {"host": "crates.io", "port": 443, "why": "to build"},
    "change": {"agent": "alice", "from": "1"},
    "settings": {"agent": "alice"},
    "edit": {"agent": "alice", "text": "label = 'new'"},
    "send": {"to": "alice", "body": "hi"},
    "recv": {"wait_seconds": 0},
    "status": {},
    "recent": {"limit": 3},
    "all_messages": {"agent": "alice", "state": "waiting", "search": "x", "limit": 3},
    "message": {"id": 1},
    "mark_read": {"up_to": 9},
    "ack_turn": {},
    "requeue_inflight": {},
    "operator_msg": {"body": "hi"},
    "wake": {"from": "matrix", "body": "x"},
    "whoami": {},
    "passkeys": {},
    "approval_challenge": {"id": 1, "seen": "1111111"},
    "add_passkey": {"credential": "{}"},
    "passkey_removal": {"id": "gone"},
    "remove_passkey": {"id": "gone"},
    "dead_letters": {},
    "revive": {"id": 1},
    "discard": {"id": 1},
    "ask": {"question": "?", "options": ["a"], "multi": True, "to": "manager"},
    "answer": {"id": 2, "answer": "yes"},
    "question": {"id": 1, "wait": 0},
    "questions": {},
    "ended_questions": {"agent": "alice", "limit": 3},
    "remind": {"message": "m", "timing": {"timing_type": "in_seconds", "seconds": 9}},
    "remind_agent": {"agent": "alice", "message": "m", "timing": {"timing_type": "at", "unix_timestamp": 4000000000}},
    "reminders": {"agent": "alice"},
    "count_pending_reminders": {},
    "loose_ends": {},
    "dashboard_sessions": {},
    "revoke_dashboard_session": {"session": 1},
    "revoke_dashboard_sessions": {"keep": 1},
    "cancel_loose_end": {"kind": "question", "id": 1},
}
CASES = [
    pytest.param(operation, surface, id=f"{operation.name} on {surface}")
    for operation in OPERATIONS
    if operation.name not in RAW
    for surface in sorted(operation.surfaces - {Surface.MCP})
]


def principal(role: Role) -> Principal:
    match role:
        case Role.OPERATOR:
            return Operator(os.geteuid())
        case Role.MANAGER:
            return principal_of(MANAGER)
        case Role.AGENT:
            return principal_of(ALICE)


def line_of(operation: AnyOperation, surface: Surface) -> Json:
    """The example of an operation as a request of the wire."""
    line = operation.line(surface)
    assert line is not None
    back = {inner: outer for outer, inner in RENAMED.items() if outer in line.request.model_fields}
    return {"cmd": line.cmd, **{back.get(key, key): value for key, value in EXAMPLES[operation.name].items()}}


async def on_line(hive: Hive, surface: Surface, request: Json) -> Json:
    layout = hive.layout
    path = {Surface.HOST: layout.host_socket, Surface.MANAGER: layout.mcp_socket(MANAGER)}.get(
        surface, layout.mcp_socket(ALICE)
    )
    (answer,) = await hive.lines(path, json.dumps(request).encode() + b"\n")
    return cast("Json", json.loads(answer))


async def on_http(hive: Hive, operation: AnyOperation, route: Route) -> tuple[int, Any]:
    """The example of an operation over one of its routes."""
    places, example = Places(operation.input, route), EXAMPLES[operation.name]
    path = PATH_FIELD.sub(lambda found: str(example[found[1]]), route.path)
    query = "&".join(f"{key}={example[key]}" for key in places.query if key in example)
    body = {key: example[key] for key in places.body if key in example} if route.method == "POST" else None
    status, _, value = await asyncio.to_thread(
        over_http, hive.layout.http_socket, route.method, f"{path}?{query}", body
    )
    return status, value


async def furnish(fake: FakeService) -> None:
    """The same beginning for both sides of a comparison."""
    fake.add(description="adds jq")
    for agent in ("alice", "manager"):
        await fake.broker.send("operator", agent, "hello")
        await fake.questions.ask(agent, "may I?", (), False, None, None)
    for agent in ("alice", "manager"):
        await fake.broker.send(agent, "operator", "hello")


@pytest.fixture
async def twin(hive: Hive, tmp_path: Path) -> AsyncIterator[FakeService]:
    """A second service like the first one, with a database of its own and no sockets."""
    database = await Database.open(tmp_path / "twin.sqlite")
    events = Events(database)
    broker = Broker(database, known=lambda name: name in fake.names, clock=NOW)
    fake = FakeService(hive.layout, events, broker)
    fake.attach(database, tmp_path / "twins")
    yield fake
    await broker.close()
    await events.close()
    await fake.links.close()
    await fake.live.close()
    await database.close()


def test_every_operation_has_a_name_a_summary_and_a_place() -> None:
    assert len(BY_NAME) == len(OPERATIONS)
    for operation in OPERATIONS:
        assert operation.summary.endswith("."), operation.name
        assert operation.surfaces, operation.name
    assert set(EXAMPLES) == set(BY_NAME) - RAW


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_declares_its_effect_and_its_methods_agree(operation: AnyOperation) -> None:
    assert operation.effect in Effect
    methods = {route.method for route in operation.routes}
    assert "GET" not in methods or operation.effect is Effect.READS
    assert "DELETE" not in methods or operation.effect is Effect.REMOVES
    assert "POST" not in methods or operation.effect is not Effect.READS or operation.name == "backup"


def test_the_tools_with_a_hint_are_those_that_only_read_and_those_that_remove() -> None:
    tools = [operation for operation in OPERATIONS if operation.tool is not None]
    reading = {operation.name for operation in tools if operation.effect is Effect.READS}
    removing = {operation.name for operation in tools if operation.effect is Effect.REMOVES}
    assert reading == {"whoami", "loose_ends", "get_logs"}
    assert removing == {"kill", "cancel_loose_end"}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_an_operation_is_there_for_exactly_its_principals(operation: AnyOperation) -> None:
    speakers = {CALLER[surface] for surface in operation.surfaces if surface in CALLER}
    assert speakers <= operation.principals
    tooled = {role for role in Role if operation in tools_of(role).values()}
    assert tooled == (operation.principals if operation.tool else set())
    assert speakers | tooled == operation.principals


@pytest.mark.parametrize("surface", LINES)
def test_every_request_of_the_wire_is_one_operation(surface: Surface) -> None:
    requests = set(get_args(get_args(UNIONS[surface])[0]))
    assert set(ON_LINES[surface]) == requests
    assert len({id(each.operation) for each in ON_LINES[surface].values()}) == len(requests)


@pytest.mark.parametrize("surface", LINES)
async def test_what_is_not_declared_on_a_socket_is_not_there(hive: Hive, surface: Surface) -> None:
    here = {line.cmd for operation in OPERATIONS if (line := operation.line(surface)) is not None}
    everywhere = {line.cmd for operation in OPERATIONS for line in operation.lines}
    everywhere |= {operation.name for operation in OPERATIONS}
    for cmd in sorted(everywhere - here):
        answer = await on_line(hive, surface, {"cmd": cmd, "name": "alice", "id": 1, "agent": "alice"})
        assert f"unknown cmd {cmd!r}" in str(answer.get("error", answer.get("message"))), cmd
    assert hive.fake.calls == []


async def test_http_has_the_routes_of_the_table_and_no_more(hive: Hive) -> None:
    declared = {(route.method, route.path) for operation in OPERATIONS for route in operation.routes}
    served = {
        (method, route.path_format)
        for route in application(hive.service, hive.stopping).routes
        for method in route.methods
        if method != "OPTIONS"
    }
    assert served == declared | {("GET", "/openapi.json")}


def test_the_tools_are_those_of_the_principal() -> None:
    everybody = {"send", "recv", "ask", "answer", "remind", "loose_ends", "cancel_loose_end", "whoami"}
    everybody |= {"request_network"}
    lifecycle = {"request_spawn", "request_apply_commit", "kill", "start", "restart", "update", "get_logs"}
    assert set(tools_of(Role.AGENT)) == everybody
    assert set(tools_of(Role.MANAGER)) == everybody | lifecycle
    assert "approve" not in tools_of(Role.OPERATOR)


@pytest.mark.parametrize(("operation", "surface"), CASES)
async def test_an_operation_answers_the_same_on_each_of_its_surfaces(
    hive: Hive, twin: FakeService, operation: AnyOperation, surface: Surface
) -> None:
    await furnish(hive.fake)
    await furnish(twin)
    call = Call(twin.parts(), principal(CALLER[surface]))
    try:
        answer = await operation.handler(call, operation.input.model_validate(EXAMPLES[operation.name], strict=False))
    except HiveError as error:  # then the same is expected on the surface
        wanted = str(error)
        answer = None
    else:
        wanted = ""
    for route in operation.routes if surface is Surface.HTTP else ():
        if any(EXAMPLES[operation.name].get(key) != value for key, value in route.fixed.items()):
            continue
        status, value = await on_http(hive, operation, route)
        if wanted:
            assert (status >= 400, wanted) == (True, value["title"])
            continue
        assert value == json.loads(TypeAdapter(operation.output).dump_json(answer))
        assert status == route.status
    if surface in UNIONS:
        line = operation.line(surface)
        assert line is not None
        value = await on_line(hive, surface, line_of(operation, surface))
        if wanted:
            assert wanted in str(value.get("error", value.get("message")))
        else:
            assert value == json.loads(encode(line.response(answer)))
    assert hive.fake.calls == twin.calls


@pytest.mark.parametrize("agent", [ALICE, MANAGER])
async def test_nothing_in_a_request_changes_who_asks(hive: Hive, agent: AgentName) -> None:
    surface = Surface.MANAGER if agent == MANAGER else Surface.AGENT
    lies = dict.fromkeys(("from", "sender", "agent", "asker", "owner", "by", "role", "principal"), "operator")
    await on_line(hive, surface, {"cmd": "send", "to": "manager", "body": "b", **lies})
    await on_line(hive, surface, {"cmd": "ask", "question": "?", **lies})
    timing = {"timing_type": "in_seconds", "seconds": 60}
    await on_line(hive, surface, {"cmd": "remind", "message": "m", "timing": timing, **lies})
    (row,) = await hive.fake.broker.recent("manager", 1)
    (question,) = await hive.fake.questions.open()
    (reminder,) = await hive.fake.reminders.of(None)
    assert (row.sender, question.asker, reminder.owner) == (agent, agent, agent)


async def test_a_message_counts_as_taken_once_its_answer_was_written(hive: Hive) -> None:
    fake = hive.fake
    await fake.broker.send("operator", "alice", "hello")
    call = Call(hive.service, principal_of(ALICE))
    await BY_NAME["recv"].handler(call, BY_NAME["recv"].input(wait_seconds=0))
    assert await fake.broker.ack_turn("alice") == 0
    (written,) = call.after
    await written(True)
    assert await fake.broker.ack_turn("alice") == 1

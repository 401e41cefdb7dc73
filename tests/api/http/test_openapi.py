"""/openapi.json and /api/state: the description is of exactly what is served, and the snapshot has no gap behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from api.http.openapi import document
from api.operations.table import OPERATIONS
from tests.api.http.test_app import get, post

if TYPE_CHECKING:
    from tests.api.conftest import Hive

DOCUMENT: dict[str, Any] = json.loads(document("rev1"))
DESCRIBED = [
    pytest.param(path, method, described, id=f"{method} {path}")
    for path, methods in DOCUMENT["paths"].items()
    for method, described in methods.items()
]


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from ([value["$ref"]] if isinstance(value.get("$ref"), str) else [])
        for child in value.values():
            yield from references(child)
    elif isinstance(value, list):
        for child in value:
            yield from references(child)


async def test_the_document_is_served(hive: Hive) -> None:
    status, kind, value = await get(hive, "/openapi.json")
    assert (status, kind) == (200, "application/json")
    assert value == DOCUMENT
    assert value["openapi"] == "3.1.0"
    assert value["info"]["version"] == "rev1"


def test_it_describes_every_route_of_the_table() -> None:
    routes = {(route.path, route.method.lower()) for operation in OPERATIONS for route in operation.routes}
    assert {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods} == routes
    names = [described["operationId"] for methods in DOCUMENT["paths"].values() for described in methods.values()]
    assert len(set(names)) == len(names)


def test_every_reference_leads_somewhere_and_nothing_is_left_over() -> None:
    wanted = set(references(DOCUMENT))
    assert wanted == {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}


@pytest.mark.parametrize(("path", "method", "described"), DESCRIBED)
def test_parameters_are_typed_and_a_body_has_no_unknown_keys(path: str, method: str, described: Any) -> None:
    parameters = {parameter["name"]: parameter for parameter in described["parameters"]}
    for name in [part[1:-1] for part in path.split("/") if part.startswith("{")]:
        assert parameters[name]["in"] == "path"
        assert parameters[name]["required"]
    assert all(parameter["schema"].get("type") for parameter in parameters.values())
    assert ("requestBody" in described) == (method == "post")
    if method == "post":
        body = described["requestBody"]["content"]["application/json"]["schema"]
        assert body["additionalProperties"] is False
        assert not set(body["properties"]) & set(parameters)
        assert "cmd" not in body["properties"]
    assert "application/problem+json" in described["responses"]["default"]["content"]


async def test_the_snapshot_has_everything_and_the_number_from_which_events_go_on(hive: Hive) -> None:
    fake = hive.fake
    fake.add()
    await fake.questions.ask("alice", "may I?", ("yes",), False, None, None)
    await fake.broker.send("alice", "operator", "hello")
    await fake.events.append("daemon_started", None, {})
    status, _, state = await get(hive, "/api/state")
    assert status == 200
    assert state["status"]["backend"] == "fake"
    assert [card["id"] for card in state["proposals"]] == [1]
    assert [(row["asker"], row["question"], row["options"]) for row in state["questions"]] == [
        ("alice", "may I?", ["yes"])
    ]
    assert state["unread"] == 1
    event = await fake.events.append("daemon_stopped", None, {})
    assert event is not None
    _, _, later = await get(hive, f"/api/events?follow=0&after={state['seq']}")
    assert [row["seq"] for row in later] == [event.seq]


async def test_what_happens_while_the_snapshot_is_taken_is_behind_its_number(
    hive: Hive, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = hive.fake.status

    async def busy() -> object:
        await hive.fake.events.append("container_crash", hive.fake.names[0], {"code": 1})
        return await status()

    monkeypatch.setattr(hive.fake, "status", busy)
    _, _, state = await get(hive, "/api/state")
    _, _, later = await get(hive, f"/api/events?follow=0&after={state['seq']}")
    assert [row["kind"] for row in later] == ["container_crash"]


async def test_the_operator_asks_answers_and_cancels(hive: Hive) -> None:
    fake = hive.fake
    status, _, asked = await post(hive, "/api/questions", {"question": "which?", "options": ["a", "b"], "to": "alice"})
    assert (status, asked) == (201, {"id": 1, "to": "alice"})
    await fake.questions.ask("alice", "may I?", (), False, None, None)
    _, _, rows = await get(hive, "/api/questions")
    assert [(row["id"], row["asker"], row["target"]) for row in rows] == [
        (2, "alice", "operator"),
        (1, "operator", "alice"),
    ]
    assert (await post(hive, "/api/questions/2/answer", {"answer": "yes"}))[0] == 200
    assert (await post(hive, "/api/questions/1/cancel"))[2] == {"kind": "question", "id": 1}
    assert await fake.questions.open() == []
    status, _, problem = await post(hive, "/api/questions/2/answer", {"answer": "no"})
    assert (status, problem["type"]) == (409, "urn:hive:conflict")


async def test_an_answer_can_be_waited_for(hive: Hive) -> None:
    await post(hive, "/api/questions", {"question": "which?", "to": "alice"})
    assert (await get(hive, "/api/questions/1"))[2]["answer"] is None
    waiting = asyncio.ensure_future(get(hive, "/api/questions/1?wait=60"))
    await hive.fake.questions.answer(1, "alice", "this one")
    _, _, found = await waiting
    assert (found["answer"], found["answerer"]) == ("this one", "alice")
    waiting = asyncio.ensure_future(get(hive, "/api/questions/1?wait=60"))
    assert (await waiting)[2] == found
    assert (await get(hive, "/api/questions/7?wait=60"))[0] == 404


async def test_a_wait_for_an_answer_ends_with_the_daemon(hive: Hive) -> None:
    await post(hive, "/api/questions", {"question": "which?", "to": "alice"})
    waiting = asyncio.ensure_future(get(hive, "/api/questions/1?wait=60"))
    hive.stopping.set()
    status, _, problem = await waiting
    assert (status, problem["type"]) == (503, "urn:hive:try-again")


async def test_the_operator_sets_lists_and_cancels_reminders_of_agents(hive: Hive) -> None:
    body = {"message": "look", "timing": {"timing_type": "in_seconds", "seconds": 60}}
    status, _, made = await post(hive, "/api/agents/alice/reminders", body)
    assert (status, made) == (201, {"id": 1, "due_at": 1_700_000_060})
    _, _, rows = await get(hive, "/api/agents/alice/reminders")
    assert [(row["owner"], row["message"]) for row in rows] == [("alice", "look")]
    _, _, ends = await get(hive, "/api/loose-ends")
    assert [(end["kind"], end["id"]) for end in ends] == [("reminder", 1)]
    assert (await post(hive, "/api/reminders/1/cancel"))[2] == {"kind": "reminder", "id": 1}
    assert await hive.fake.reminders.count("alice") == 0
    assert (await post(hive, "/api/reminders/1/cancel"))[0] == 404
    status, _, problem = await post(hive, "/api/agents/alice/reminders", {**body, "timing": {"timing_type": "soon"}})
    assert (status, "timing" in problem["title"]) == (400, True)


@pytest.mark.parametrize("body", [{"id": 2}, {"kind": "reminder"}, {"from": "alice"}, {"cmd": "answer"}, []])
async def test_what_the_path_says_cannot_be_said_otherwise_in_the_body(hive: Hive, body: object) -> None:
    await hive.fake.questions.ask("alice", "may I?", (), False, None, None)
    status, _, problem = await post(hive, "/api/questions/1/cancel", body)
    assert (status, problem["type"]) == (400, "urn:hive:bad-input")
    assert len(await hive.fake.questions.open()) == 1


async def test_a_message_with_a_key_is_sent_once(hive: Hive) -> None:
    body = {"to": "alice", "body": "hi", "key": "k1"}
    first, second = await post(hive, "/api/messages", body), await post(hive, "/api/messages", body)
    assert first == second
    assert await hive.fake.broker.unread("alice") == 1


async def test_the_operator_reads_its_inbox(hive: Hive) -> None:
    id = await hive.fake.broker.send("alice", "operator", "done")
    _, _, rows = await get(hive, "/api/messages?limit=5")
    assert [(row["id"], row["from"], row["body"]) for row in rows] == [(id, "alice", "done")]
    assert (await post(hive, "/api/messages/read", {"up_to": id}))[2] == {"read": 1}
    assert (await get(hive, "/api/state"))[2]["unread"] == 0

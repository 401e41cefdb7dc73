"""What is open has a bound in bytes, whoever looks and however much there is of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from api.operations.loose_ends import MAX_LENGTH, MAX_LISTED
from meta.errors import Conflict
from meta.names import MANAGER, AgentName
from meta.wire.common import InSeconds
from reconciler.messaging.loose_ends import ENDS_BYTES, ENDS_MOST
from reconciler.messaging.questions import OPEN_BYTES
from tests.api.conftest import Hive
from tests.api.http.test_app import call as over_http
from tests.support.mcp_client import call, texts

NOISE = "\x01" * 4096
ASKERS = [AgentName(f"noisy-{n}") for n in range(4)]


@pytest.fixture
async def noisy(hive: Hive) -> Hive:
    """Agents that ask and remind as much as they may."""
    hive.fake.names.extend(ASKERS)
    for asker in ASKERS:
        for _ in range(100):
            await hive.fake.questions.ask(asker, NOISE, ("words " * 6, "b", "c", "d"), False, None, None)
        for _ in range(ENDS_MOST // 2):
            await hive.fake.reminders.remind(asker, NOISE, InSeconds(seconds=600), None)
    return hive


async def ends(hive: Hive, agent: AgentName) -> tuple[int, list[dict[str, Any]]]:
    (line,) = await hive.lines(hive.layout.mcp_socket(agent), b'{"cmd":"get_loose_ends"}\n')
    return len(line), json.loads(line)["loose_ends"]


async def test_loose_ends_have_a_bound_in_bytes_the_newest_first_within_each_kind(noisy: Hive) -> None:
    await noisy.fake.questions.ask("alice", "short and last?", (), False, None, None)
    size, found = await ends(noisy, MANAGER)
    assert size <= ENDS_BYTES + 100
    assert len(found) == 2 * ENDS_MOST
    questions = [end for end in found if end["kind"] == "question"]
    assert questions[0]["question"] == "short and last?"
    assert questions[1]["question"].endswith("…")
    assert NOISE.startswith(questions[1]["question"].removesuffix("…"))
    assert [end["id"] for end in questions] == sorted((end["id"] for end in questions), reverse=True)
    assert set(questions[1]) == {"kind", "id", "asker", "question", "age_seconds"}


async def test_an_agents_own_loose_ends_are_all_there_but_cut(noisy: Hive) -> None:
    await noisy.sockets.open(ASKERS[0], None)
    size, found = await ends(noisy, ASKERS[0])
    assert size <= ENDS_BYTES + 100
    assert [end["kind"] for end in found] == ["question"] * 100 + ["reminder"] * (ENDS_MOST // 2)


async def test_a_model_gets_one_short_line_for_each_of_the_newest(noisy: Hive) -> None:
    (text, _) = texts(await call(noisy, MANAGER, "loose_ends"))
    lines = text.splitlines()
    assert max(map(len, lines)) <= MAX_LENGTH
    assert (lines[MAX_LISTED], lines[-1]) == ("and 250 older questions", "and 250 older reminders")
    assert lines[0].startswith("question 400 from noisy-3 to the operator, 0 s: ")
    assert "\x01" not in text


async def test_the_state_and_the_list_of_questions_have_a_bound_and_one_question_is_whole(noisy: Hive) -> None:
    path = noisy.layout.http_socket
    for target in ("/api/state", "/api/questions", f"/api/agents/{ASKERS[0]}/reminders"):
        _, _, value = await asyncio.to_thread(over_http, path, "GET", target)
        rows = value["questions"] if isinstance(value, dict) else value
        assert len(json.dumps(rows, ensure_ascii=False)) < 6 * 2**20, target
    questions = (await asyncio.to_thread(over_http, path, "GET", "/api/questions"))[2]
    assert len(json.dumps(questions)) < 2 * 2**20
    assert len(questions) == 400
    assert all(row["cut"] for row in questions)
    (_, _, whole) = await asyncio.to_thread(over_http, path, "GET", f"/api/questions/{questions[0]['id']}")
    assert (whole["question"], len(whole["options"]), whole["cut"]) == (NOISE, 4, False)


async def test_the_open_questions_of_one_asker_have_a_bound_in_bytes(hive: Hive) -> None:
    questions, text = hive.fake.questions, "x" * 16 * 1024
    for _ in range(OPEN_BYTES // len(text) - 1):
        await questions.ask("alice", text, (), False, None, None)
    with pytest.raises(Conflict, match=f"the limit is {OPEN_BYTES}"):
        await questions.ask("alice", text, (), False, None, None)
    await questions.cancel(1, "alice")
    await questions.ask("alice", text, (), False, None, None)


async def test_a_question_of_the_greatest_size_can_be_asked(hive: Hive) -> None:
    await hive.fake.questions.ask(
        "alice", "\x01" * 16 * 1024, tuple("\x01" * 1022 + f"{n:02}" for n in range(50)), False, None, None
    )

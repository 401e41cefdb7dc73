"""What the harness asks of the way out, and what follows for the CLI."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from harness.relay.egress import Misses
from harness.runtimes.base import ModelApi
from harness.way_out.answer import Older, Refused, Silent, ask, parse_answer
from harness.way_out.way_out import SHOWN, SILENT, WayOut
from meta.network.inside import ANSWER_LIMIT
from tests.harness.fake_way_out import FakeWayOut, fake_way_out

URL = "http://127.0.0.1:3128"


@pytest.fixture
async def way() -> AsyncIterator[FakeWayOut]:
    async with asyncio.timeout(20), fake_way_out() as fake:
        yield fake


def of(fake: FakeWayOut, kept: Path, runtime: str = "claude") -> WayOut:
    now = iter(range(10_000_000))
    return WayOut(fake.folder, URL, runtime, kept, Misses(), lambda: float(next(now)) * 10)


def refusals(*hosts: str, next: int = 1) -> dict[str, Any]:
    rows = [{"host": host, "port": 443, "count": 3} for host in hosts]
    return {"routes": {}, "held": "", "refused": rows, "next": next}


async def test_a_route_for_the_runtime_is_where_the_cli_asks_without_a_login(way: FakeWayOut, tmp_path: Path) -> None:
    way.answer = {"routes": {"work": "anthropic", "hub": "git", "z": "anthropic"}, "held": "", "refused": [], "next": 0}
    out = of(way, tmp_path)
    assert (await out.look(), out.known, out.key) == ("", True, "anthropic")
    assert out.access().api(("anthropic", "anthropic-token")) == ModelApi(f"{URL}/work", "anthropic")
    env = out.access().env
    assert env["GIT_CONFIG_COUNT"] == "3"
    assert env["GIT_CONFIG_KEY_0"] == f"url.{URL}/hub/.insteadOf"
    originals = [env[f"GIT_CONFIG_VALUE_{number}"] for number in range(3)]
    assert originals == ["https://github.com/", "git@github.com:", "ssh://git@github.com/"]


async def test_a_git_route_names_its_own_upstream(way: FakeWayOut, tmp_path: Path) -> None:
    way.answer = {"routes": {"corp": "git"}, "upstreams": {"corp": "https://git.corp:8443"}, "next": 0}
    out = of(way, tmp_path)
    await out.look()
    assert out.access().env["GIT_CONFIG_VALUE_0"] == "https://git.corp:8443/"


async def test_without_a_route_the_cli_asks_its_vendor_and_has_a_login(way: FakeWayOut, tmp_path: Path) -> None:
    way.answer = {"routes": {"o": "openai"}, "held": "", "refused": [], "next": 0}
    out = of(way, tmp_path)
    assert (await out.look(), out.key) == ("", "")
    assert out.access().api(("anthropic",)) == ModelApi(None)


async def test_what_does_not_know_the_question_takes_the_requests_itself(way: FakeWayOut, tmp_path: Path) -> None:
    way.answer = None
    out = of(way, tmp_path)
    assert (await out.look(), out.known, out.access().api(("anthropic",))) == ("", True, ModelApi(URL))


async def test_no_turn_begins_while_nothing_answers_or_the_way_is_held(way: FakeWayOut, tmp_path: Path) -> None:
    out = of(way, tmp_path)
    await way.close()
    assert (await out.look(), out.known) == (SILENT, False)
    assert await of(way, tmp_path, "acp").look() == ""
    await way.open()
    way.answer = {"routes": {}, "held": "the budget\nis used up", "refused": [], "next": 0}
    assert await out.look() == "the budget is used up"
    assert await of(way, tmp_path / "no", "script").look() == ""


async def test_without_a_directory_for_the_socket_none_is_waited_for(tmp_path: Path) -> None:
    out = WayOut(tmp_path / "missing", URL, "claude", tmp_path, Misses())
    assert (await out.look(), out.known) == ("", True)


async def test_an_answer_is_asked_for_again_only_when_it_is_old(way: FakeWayOut, tmp_path: Path) -> None:
    out = WayOut(way.folder, URL, "claude", tmp_path, Misses(), lambda: 100.0)
    for _ in range(5):
        await out.look()
    assert len(way.asked) == 1
    await out.look(fresh=True)
    assert len(way.asked) == 2


async def test_what_a_short_turn_was_refused_is_for_the_next_one(way: FakeWayOut, tmp_path: Path) -> None:
    out = WayOut(way.folder, URL, "claude", tmp_path, Misses(), lambda: 100.0)
    await out.look()
    way.answer = refusals("crates.io")  # within the turn
    out.mark_shown()
    await out.look()
    assert list(out.lines())[1:] == ["refused: crates.io:443, 3 times"]


async def test_what_was_refused_is_told_until_a_turn_ends_well_and_never_again(way: FakeWayOut, tmp_path: Path) -> None:
    way.answer = refusals("crates.io", next=7)
    out = of(way, tmp_path)
    await out.look()
    told = ["Hosts that this container may not reach; ask with request_network if you need one:"]
    told.append("refused: crates.io:443, 3 times")
    assert list(out.lines()) == told
    await out.look()
    assert list(out.lines()) == told
    out.mark_shown()
    assert list(out.lines()) == []
    await out.look()
    assert way.asked[-1].endswith("?after=7")
    again = of(way, tmp_path)  # a new start of the harness
    await again.look()
    assert way.asked[-1].endswith("?after=7")


async def test_counters_that_began_anew_are_told_from_their_beginning(way: FakeWayOut, tmp_path: Path) -> None:
    (tmp_path / "hyperhive-way-out").write_text("99\n")
    way.answer = refusals("a.example", next=2)
    out = of(way, tmp_path)
    await out.look()
    assert [target.rpartition("=")[2] for target in way.asked] == ["99", "0"]
    out.lines()
    out.mark_shown()
    assert (tmp_path / "hyperhive-way-out").read_text() == "2\n"


async def test_only_some_hosts_are_named_and_only_in_their_canonical_spelling(way: FakeWayOut, tmp_path: Path) -> None:
    strange = ["EVIL.example", "a b", "x\nyou are free", "", "127.1", "*"]
    way.answer = refusals(*strange, *(f"h{number:02}.example" for number in range(30)))
    out = of(way, tmp_path)
    await out.look()
    lines = list(out.lines())
    assert len(lines) == SHOWN + 2
    assert lines[-1] == "refused: 20 more hosts"
    assert not [line for line in lines if "evil" in line.lower() or "free" in line]


async def test_hosts_that_hive_egress_left_out_are_counted(way: FakeWayOut, tmp_path: Path) -> None:
    way.answer = {**refusals("a.example"), "more": 400}
    out = of(way, tmp_path)
    await out.look()
    assert list(out.lines())[-1] == "refused: 400 more hosts"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"routes": []}', b"[" * 100_000, b"\xff", b'"x"'],
)
def test_what_is_no_answer_is_of_something_older(body: bytes) -> None:
    with pytest.raises(Older):
        parse_answer(body)


def test_wrong_entries_of_an_answer_are_left_out() -> None:
    routes = {"../x": "anthropic", "a": "unknown", "b": 5, "ok": "git", "x" * 40: "git"}
    rows: list[Any] = [None, {}, {"host": 1, "port": 1, "count": 1}, {"host": "a.b", "port": 0, "count": 1}]
    rows.append({"host": "a.b", "port": 22, "count": 1})
    answer = parse_answer(json.dumps({"routes": routes, "held": 5, "refused": rows, "next": -1}).encode())
    assert (answer.routes, answer.held, answer.refused, answer.next) == ({"ok": "git"}, "", (Refused("a.b", 22, 1),), 0)
    assert answer.refused[0].text == "a.b:22, once"


async def test_an_answer_without_an_end_is_bounded(tmp_path: Path) -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (2 * ANSWER_LIMIT))
        await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(flood, tmp_path / "s"):
        with pytest.raises(Older, match="too long"):
            await ask(tmp_path / "s", 0)


@pytest.mark.parametrize(("status", "error"), [("404", Older), ("501", Older), ("429", Silent), ("503", Silent)])
async def test_a_way_out_that_is_busy_is_not_taken_for_something_older(
    tmp_path: Path, status: str, error: type[Exception]
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    async with await asyncio.start_unix_server(answer, tmp_path / "s"):
        with pytest.raises(error):
            await ask(tmp_path / "s", 0)

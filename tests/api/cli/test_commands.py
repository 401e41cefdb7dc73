"""The command line, as a program of its own, against real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from api.cli import reference
from api.cli.client import paths, patience
from api.cli.client.exit_codes import MEANINGS, Code, Failed, TimedOut, Unreachable, code_of
from api.cli.client.follow import remedy
from api.cli.commands.man import leaves
from api.cli.main import parser
from api.http.problems import KINDS, error_from, problem_of
from api.words import texts
from api.words.events import SENTENCES, describe
from meta.errors import (
    BadInput,
    Conflict,
    HiveError,
    NewerState,
    NotFound,
    PermanentError,
    Refused,
    TransientError,
)
from meta.model import DeployKind
from meta.names import AgentName, ProposalId
from reconciler.store.events.kinds import EVENT_KINDS
from reconciler.views import PlanRow, Remains

if TYPE_CHECKING:
    from tests.api.conftest import Hive

ME = f"operator uid {os.geteuid()}"
SHA = "1" * 40


async def test_what_can_be_looked_at_is_printed_for_people(hive: Hive) -> None:
    hive.fake.add(description="adds jq\n\nbecause")
    hive.fake.rows[hive.fake.names[0]] = PlanRow(
        hive.fake.names[0], "backing-off", "wait", "crashed twice", until=1.7e9, conditions=("needs a look",)
    )
    printed = {}
    for command in ("status", "list", "plan", "pending", "diff 1", "log", "logs alice -n 3", "events"):
        code, out, err = await hive.hive(*command.split())
        assert (code, err) == (0, ""), (command, err)
        assert "\x1b" not in out, command
        printed[command] = out
    assert "note: a note" in printed["status"]
    assert "alice" in printed["status"]
    assert printed["list"] == "alice\nmanager\n"
    assert "alice  backing-off  wait" in printed["plan"]
    assert "until 2023-11-14 22:13:20  crashed twice" in printed["plan"]
    assert "alice: needs a look" in printed["plan"]
    assert "adds jq" in printed["pending"]
    assert "because" not in printed["pending"]
    assert "agent.toml:\n  model: 1 -> 2\n" in printed["diff 1"]
    assert "\\u001b]0;owned\\u0007" in printed["diff 1"]
    assert "deploy 1" in printed["log"]
    assert printed["logs alice -n 3"] == "3 lines of alice\n"


DAILY = ("logs alice", "diff alice", "diff alice 1..", "history alice")


async def test_everything_that_prints_has_json(hive: Hive) -> None:
    hive.fake.add()
    for command in ("status", "list", "plan", "plan alice", "pending", "pending --all", "diff 1", "log", *DAILY):
        code, out, err = await hive.hive(*command.split(), "--json")
        assert (code, err) == (0, ""), (command, err)
        assert json.loads(out), command
    code, out, _ = await hive.hive("events", "--json")
    assert (code, json.loads(out)) == (0, [])


async def test_each_command_asks_for_what_it_says(hive: Hive) -> None:
    for _ in range(3):
        hive.fake.add()
    commands = [
        ("propose", "alice", "1111111", "--from", "/src/../work", "-m", "adds jq"),
        ("approve", "1", "--sha", "1111111"),
        ("deny", "2", "--reason", "too broad"),
        ("cancel", "3", "--yes"),
        ("spawn", "bob"),
        ("request-spawn", "carol", "-m", "a reviewer"),
        ("rollback", "alice", "1"),
        ("adopt", "alice", "--meta"),
        ("start", "alice"),
        ("stop", "alice", "--now"),
        ("kill", "alice"),
        ("restart", "alice"),
        ("rebuild", "alice", "--json"),
        ("rebuild", "--all", "--now"),
        ("destroy", "bob", "--purge", "--yes"),
        ("reconcile", "alice"),
        ("send", "alice", "hi"),
    ]
    for command in commands:
        code, _, err = await hive.hive(*command)
        assert (code, err) == (0, ""), (command, err)
    assert hive.fake.calls == [
        ("propose", "alice", ME, "1111111", "adds jq", Path("/src/../work")),
        ("approve", 1, ME, "1111111"),
        ("deny", 2, ME, "too broad"),
        ("cancel", 3, ME, ""),
        ("spawn", "bob", ME),
        ("request_spawn", "carol", ME, "a reviewer"),
        ("rollback", "alice", ME, 1),
        ("adopt", "alice", ME, False),
        ("start", "alice", ME),
        ("stop", "alice", ME, True),
        ("stop", "alice", ME, False),
        ("restart", "alice", ME, False),
        ("rebuild", "alice", ME, False),
        ("rebuild_all", ME, True, False),
        ("destroy", "bob", ME, True),
        ("reconcile", "alice"),
    ]
    assert await hive.fake.broker.unread("alice") == 1


async def test_all_agents_are_stopped_and_started_at_once_and_each_has_its_result(hive: Hive) -> None:
    code, out, err = await hive.hive("stop", "--all", "--now")
    assert (code, out, err) == (0, "alice will stop\nmanager: it is stopped already\n", "")
    code, out, err = await hive.hive("start", "--all")
    assert (code, out) == (1, "alice will start\n")
    assert err == "manager failed: it is damaged\n  try: mend it\n"
    code, out, _ = await hive.hive("start", "--all", "--json")
    assert (code, [row["accepted"] for row in json.loads(out)]) == (1, ["start", None])
    assert hive.fake.calls == [("stop_all", ME, True), ("start_all", ME), ("start_all", ME)]
    for words in (("stop",), ("start", "alice", "--all")):
        code, _, err = await hive.hive(*words)
        assert (code, "name an agent, or give --all" in err) == (2, True)


ERRORS = [
    ("logs bob", Code.NOT_FOUND, "hive: there is no agent bob", "see `hive list`"),
    ("diff 9", Code.NOT_FOUND, "hive: there is no proposal 9", "see `hive pending`"),
    ("diff x", Code.NOT_FOUND, "hive: there is no agent x", "see `hive list`"),
    ("diff X", Code.USAGE, "hive: 'X' is no agent name", "alice"),
    ("approve x", Code.USAGE, "hive: Invalid value for 'ID': 'x' is not a whole number", "`hive approve --help`"),
    ("diff 1 2..3", Code.USAGE, "hive: 1 is a proposal, and A..B is of an agent", "`hive diff alice 3..7`"),
    ("logs alice --since soon", Code.USAGE, "hive: --since 'soon' is not a time", "10m"),
    ("history bob", Code.NOT_FOUND, "hive: there is no agent bob", "see `hive list`"),
    ("shell alice", Code.CONFLICT, "hive: backend fake has no containers", "local"),
    ("approve", Code.USAGE, "hive: Missing argument 'ID'.", "`hive approve --help`"),
    ("rebuild", Code.USAGE, "hive: name an agent, or give --all", "hive rebuild --all"),
    ("rebuild alice --all", Code.USAGE, "hive: name an agent, or give --all", "hive rebuild alice"),
    ("rebuild alice --stale", Code.USAGE, "hive: --stale needs --all", "--all --stale"),
    ("stauts", Code.USAGE, "hive: No such command 'stauts'.", "`hive --help`"),
    ("adopt alice", Code.USAGE, "hive: say which side is right", "--running"),
    ("propose alice main", Code.USAGE, "hive: 'main' is no commit id", "branches"),
    ("spawn too-long-a-name", Code.USAGE, "limit is 11", "alice"),
    ("logs a/b", Code.USAGE, "hive: 'a/b' is no agent name: only a-z", "alice"),
    ("rebuild ../x?y=1", Code.USAGE, "is no agent name: it must begin with", "alice"),
    ("send nobody hello", Code.NOT_FOUND, "hive: there is no agent nobody", "see `hive list`"),
    ("diff 0", Code.USAGE, "each agent's first spawn has the id 0", "--agent NAME"),
    ("approve 0", Code.USAGE, "each agent's first spawn has the id 0", "--agent NAME"),
    ("deny 0", Code.USAGE, "each agent's first spawn has the id 0", "--agent NAME"),
    ("cancel 0 --wait --yes", Code.USAGE, "each agent's first spawn has the id 0", "--agent NAME"),
    ("diff 0 --agent bob", Code.NOT_FOUND, "hive: there is no agent bob", "see `hive list`"),
    ("diff 0 --agent a/b", Code.USAGE, "hive: 'a/b' is no agent name", "alice"),
    ("log -n 0", Code.USAGE, "hive: -n 0 is not a number from 1 to 1000", "-n 20"),
    ("logs alice -n -3", Code.USAGE, "hive: -n -3 is not a number from 1 to 10000", "-n 20"),
    ("events --follow -n 0", Code.USAGE, "hive: -n 0 is not a number from 1 to 1000", "-n 20"),
    ("spawn alice", Code.CONFLICT, "hive: an agent named alice already exists", "another name"),
    ("destroy manager --yes", Code.CONFLICT, "hive: the manager cannot be destroyed", "other agents"),
    ("approve 1 --sha 2222222", Code.CONFLICT, "not 2222222", "hive diff 1"),
    ("events --after elsewhere-1", Code.CONFLICT, "hive: resync", "sequence number"),
]


async def test_an_error_is_one_line_of_what_and_one_of_what_to_do(hive: Hive) -> None:
    hive.fake.add()
    for command, code, what, hint in ERRORS:
        found, out, err = await hive.hive(*command.split())
        assert (found, out) == (code, ""), (command, err)
        first, second = err.splitlines()
        assert first.startswith("hive: ")
        assert what in first
        assert second.startswith("  try: ")
        assert hint in second


async def test_the_id_0_of_one_agent_is_named_with_its_agent(hive: Hive) -> None:
    code, out, err = await hive.hive("diff", "0", "--agent", "alice")
    assert (code, err) == (0, "")
    assert "proposal 0 for alice" in out
    assert "  failed: no luck\n    log\n" in out
    code, out, _ = await hive.hive("cancel", "0", "--agent", "alice", "--yes")
    assert (code, out) == (0, "0 of alice is cancelled\n")
    assert hive.fake.calls == [("cancel", 0, ME, "", "alice")]


async def test_the_plan_says_what_a_drain_waits_for(hive: Hive) -> None:
    alice = hive.fake.names[0]
    hive.fake.rows[alice] = PlanRow(alice, "draining", "drain", "should be stopped", until=1.7e9)
    _, out, _ = await hive.hive("plan")
    assert "for its turn to end, until 2023-11-14 22:13:20" in out


async def test_a_spawn_that_failed_names_what_can_be_done_about_it(hive: Hive) -> None:
    hive.fake.add(hive.fake.names[0], DeployKind.SPAWN, status="failed", state="failed", note="no harness")
    failed = asdict(hive.fake.shown[1])
    assert remedy(failed) == "`hive diff 1 --agent alice` shows its last lines, `hive spawn alice` tries again"


async def test_events_are_told_in_sentences_and_json_is_as_it_was(hive: Hive) -> None:
    crash = {"why": "killed by signal 9", "crashes": 2, "restart_in": 4.0, "code": None, "signal": 9, "log": "x"}
    await hive.fake.events.append("container_crash", hive.fake.names[0], crash)
    _, out, _ = await hive.hive("events")
    assert out.endswith(" alice: ended by itself: killed by signal 9 (crash 2 in a row, starts again in 4 s)\n")
    _, out, _ = await hive.hive("events", "--json")
    assert json.loads(out)[0]["data"] == crash


def test_every_kind_of_event_has_a_sentence_that_bears_missing_and_odd_values() -> None:
    assert set(SENTENCES) == set(EVENT_KINDS)
    for kind, tell in SENTENCES.items():
        keys = ("id", "by", "ids", "crashes", "restart_in", "sha", "reason", "what", "deploy", "running")
        for value in (None, "", "text\nmore", 3, [], ["a", 1]):
            for data in ({}, dict.fromkeys(keys, value)):
                said = tell(data)
                assert said, kind
                assert "\n" not in said, (kind, said)
                assert "None" not in said, (kind, said)
    assert describe("of-a-newer-hive", {"at": 0, "agent": None, "data": {"x": 1}}).endswith(
        "hive: of-a-newer-hive (x=1)"
    )


async def test_without_a_daemon_the_error_has_the_command_that_starts_it(pods: Hive) -> None:
    code, _, err = await pods.hive("status")
    assert code == Code.UNREACHABLE
    assert f"no daemon answers at {pods.layout.http_socket}" in err
    assert f"hive serve --state {pods.layout.state} --runtime {pods.layout.runtime}" in err
    assert f"if it ends with exit code {Code.NEWER.value}, a newer hive wrote" in err
    assert "docs/howto/upgrade.md" in err


async def test_options_overrule_the_environment(hive: Hive) -> None:
    code, out, _ = await hive.hive("list", "--runtime", "/nowhere")
    assert (code, out) == (Code.UNREACHABLE, "")


async def test_the_program_exits_with_the_code(hive: Hive) -> None:
    process = await hive.program("-m", "api.cli.main", "logs", "bob")
    out, err = await process.communicate()
    assert (process.returncode, out) == (Code.NOT_FOUND, b"")
    assert err == b"hive: there is no agent bob\n  try: see `hive list`\n"


async def approved(hive: Hive, status: str, state: str, note: str | None = None) -> None:
    """The part of a daemon: once an id is approved, it deploys."""
    await hive.fake.asked.wait()
    hive.fake.move(1, status, state, note)
    await hive.fake.events.append("deploy_succeeded", hive.fake.names[0], {"id": 1})


async def test_wait_follows_a_deploy_to_its_end(hive: Hive) -> None:
    hive.fake.add()
    daemon = asyncio.ensure_future(approved(hive, "approved", "deployed"))
    code, out, err = await hive.hive("approve", "1", "--wait")
    await daemon
    assert (code, out) == (0, "alice has 1 deployed, at commit 111111111111\n")
    assert "alice: 1 is deployed" in err or err == ""


async def test_wait_exits_with_1_and_the_reason_when_a_deploy_fails(hive: Hive) -> None:
    hive.fake.add()
    daemon = asyncio.ensure_future(approved(hive, "failed", "failed", "no such package\nlog tail"))
    code, out, err = await hive.hive("approve", "1", "--wait")
    await daemon
    assert (code, out) == (Code.FAILED, "")
    assert "hive: 1 of alice is failed: no such package\n  try: see `hive diff 1`" in err


async def test_wait_gives_up_after_its_timeout_and_says_that_it_goes_on(hive: Hive) -> None:
    hive.fake.add()
    code, _, err = await hive.hive("approve", "1", "--wait", "--timeout", "0.1")
    assert code == Code.TIMEOUT
    assert "the work goes on" in err
    assert hive.fake.shown[1].state == "approved"


async def test_wait_on_a_run_state_ends_when_the_plan_is_empty(hive: Hive) -> None:
    alice = hive.fake.names[0]
    hive.fake.rows[alice] = PlanRow(alice, "starting", "start", "it should run")

    async def daemon() -> None:
        await hive.fake.asked.wait()
        hive.fake.rows[alice] = PlanRow(alice, "running", "none", "as desired")
        await hive.fake.events.append("agent_healthy", alice, {})

    task = asyncio.ensure_future(daemon())
    code, out, _ = await hive.hive("start", "alice", "--wait")
    await task
    assert (code, out) == (0, "alice is up\n")


async def test_wait_exits_with_1_when_the_agent_is_given_up(hive: Hive) -> None:
    alice = hive.fake.names[0]
    hive.fake.rows[alice] = PlanRow(alice, "failed", "none", "crashed 5 times")
    code, _, err = await hive.hive("restart", "alice", "--wait")
    assert code == Code.FAILED
    assert "hive: alice is failed: crashed 5 times" in err


async def test_wait_for_destroy_ends_when_the_agent_is_gone(hive: Hive) -> None:
    code, out, _ = await hive.hive("destroy", "alice", "--wait", "--yes")
    assert (code, out) == (0, "alice is destroyed\n")


async def test_a_wait_goes_on_when_the_daemon_stops_and_ends_at_its_timeout(
    hive: Hive, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def settled(*_: object) -> bool:
        asked.set()
        await asyncio.Event().wait()
        return True

    monkeypatch.setattr(hive.fake, "settled", settled)
    monkeypatch.setattr(patience, "RETRY", 0.02)
    waiting = asyncio.ensure_future(hive.hive("reconcile", "--wait", "--timeout", "0.5"))
    await asked.wait()
    hive.stopping.set()
    code, _, err = await waiting
    assert (code, "hive: the daemon is stopping" in err) == (Code.TIMEOUT, True), err
    assert "; trying again\n" in err


async def test_reconcile_with_wait_says_the_plan_that_is_left(hive: Hive) -> None:
    code, out, _ = await hive.hive("reconcile", "--wait")
    assert (code, out) == (0, "nothing to do: 2 agents as desired\n")


async def test_events_can_be_followed_as_one_json_object_per_line(hive: Hive) -> None:
    await hive.fake.events.append("daemon_started", None, {})
    process = await hive.program("-m", "api.cli.main", "events", "--follow", "--json")
    try:
        async with asyncio.timeout(20):
            assert process.stdout is not None
            assert json.loads(await process.stdout.readline())["kind"] == "daemon_started"
            await hive.fake.events.append("daemon_stopped", None, {})
            assert json.loads(await process.stdout.readline())["kind"] == "daemon_stopped"
            hive.stopping.set()
            assert process.stderr is not None
            assert await process.stderr.readline() == b"hive: the daemon ended the stream; waiting for the daemon\n"
            process.send_signal(signal.SIGINT)
            _, err = await process.communicate()
            assert b"hive: interrupted; hive goes on\n  try: `hive events --follow --after " in err
            assert process.returncode == Code.INTERRUPTED
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.mark.parametrize("words", [("status",), ("turn", "resume", "alice")])
async def test_a_command_imports_nothing_heavy(hive: Hive, words: tuple[str, ...]) -> None:
    process = await hive.program("-m", "tests.support.heavy_imports", *words)
    out, _ = await process.communicate()
    assert (process.returncode, out.decode().splitlines()[-1]) == (0, "HEAVY []")


def test_the_reference_page_is_current() -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), "run `python -m api.cli.reference`"


def test_every_command_has_help_and_an_example() -> None:
    for name, _, command in leaves(parser()):
        assert command.help, name
        assert f"hive {name}" in (command.epilog or ""), name


def test_every_exit_code_has_a_meaning_and_every_error_a_code() -> None:
    assert set(MEANINGS) == set(Code)
    errors: list[tuple[HiveError, Code]] = [
        (BadInput("x"), Code.USAGE),
        (NotFound("x"), Code.NOT_FOUND),
        (Conflict("x"), Code.CONFLICT),
        (Refused("x"), Code.CONFLICT),
        (Unreachable("x"), Code.UNREACHABLE),
        (TimedOut("x"), Code.TIMEOUT),
        (TransientError("x"), Code.TRY_AGAIN),
        (NewerState("x"), Code.NEWER),
        (Failed("x"), Code.FAILED),
        (PermanentError("x"), Code.FAILED),
    ]
    for error, code in errors:
        assert code_of(error) is code


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_the_way_over_http(kind: type) -> None:
    error = kind.error("what", "do this")  # type: ignore[attr-defined]
    back = error_from(problem_of(error))
    assert (type(back), back.summary, back.hint) == (type(error), "what", "do this")


def test_the_daemon_is_found_by_options_then_by_what_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here = tmp_path / ".hive"
    assert paths.find(None, None) == paths.Where(Path("/var/lib/hyperhive"), Path("/run/hyperhive"))
    assert paths.find(None, None, serving=True) == paths.Where(here, here / "run")
    here.mkdir()
    assert paths.find(None, None) == paths.Where(here, here / "run")
    assert paths.find("s", None) == paths.Where(tmp_path / "s", tmp_path / "s" / "run")
    assert paths.find("/var/lib/hyperhive", None).runtime == Path("/run/hyperhive")
    assert paths.find(None, "r") == paths.Where(here, tmp_path / "r")
    assert paths.find("s", "r") == paths.Where(tmp_path / "s", tmp_path / "r")


def test_what_an_agent_wrote_cannot_steer_the_terminal() -> None:
    evil = "a\x1b[2Jb\rc\u202ed\x9be\u2066"
    assert texts.escape(evil) == "a\\u001b[2Jb\\u000dc\\u202ed\\u009be\\u2066"
    assert texts.escape("täglich\n\tgrün") == "täglich\n\tgrün"


async def test_list_shows_what_destroyed_agents_left(hive: Hive) -> None:
    assert (await hive.hive("list", "--destroyed"))[1] == "no agent was destroyed and not purged\n"
    hive.fake.remains = [
        Remains(AgentName("lint"), None, ProposalId(0), None, 0, 1, purging=True),
        Remains(AgentName("spike"), 1.6e9, ProposalId(5), 3 * 2**20, 214, 5),
    ]
    _, out, _ = await hive.hive("list", "--destroyed")
    assert "is being purged" in out and "not measured" in out and "214" in out and "3.0 MiB" in out
    assert json.loads((await hive.hive("list", "--destroyed", "--json"))[1])[1]["home_bytes"] == 3 * 2**20

"""The daemon's log: what a line looks like in each place, what stands beside it, and what never gets into it."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from api.daemon import logs
from meta.names import AgentName
from reconciler.telemetry import activity

SECRETS = ("sk-ant-api03-abcdefghijk", "ghp_0123456789abcdef0123", "eyJhbGciOiJIUzI1NiJ9.secret")
Said = Callable[[], str]


@pytest.fixture(params=["console", "journal", "json"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def said(kind: str) -> Iterator[Said]:
    """What the root logger has written since."""
    root, stream = logging.getLogger(), io.StringIO()
    before, level = root.handlers[:], root.level
    logs.set_up(kind, {}, stream)
    yield stream.getvalue
    root.handlers[:] = before
    root.setLevel(level)


log = logging.getLogger("reconciler.loop.loop")


def test_a_line_has_the_agent_the_pass_and_the_step(said: Said, kind: str) -> None:
    with activity.reconciling(AgentName("alice")), activity.stepping("build"):
        (id,) = {activity.facts()["reconcile"]}
        log.warning("%s took long", "nix")
    if kind == "json":
        row = json.loads(said())
        assert (row["event"], row["level"], row["logger"]) == ("nix took long", "warning", "reconciler.loop.loop")
        assert (row["agent"], row["reconcile"], row["step"]) == ("alice", id, "build")
        assert row["timestamp"].endswith("Z")
    elif kind == "journal":
        assert said() == f"<4>reconciler.loop.loop: nix took long agent=alice reconcile={id} step=build\n"
    else:
        assert "nix took long" in said()
        assert all(word in said() for word in ("agent=alice", f"reconcile={id}", "step=build", "warning"))
        assert "\x1b" not in said()


def test_outside_a_pass_nothing_stands_beside_the_line(said: Said) -> None:
    with activity.reconciling(AgentName("alice")):
        pass
    log.info("up")
    assert "alice" not in said()
    assert "reconcile=" not in said()


async def test_what_a_step_leaves_running_does_not_keep_the_steps_name(said: Said) -> None:
    import asyncio

    go = asyncio.Event()

    async def server() -> None:
        await go.wait()
        log.info("a connection")

    with activity.reconciling(AgentName("alice")), activity.stepping("open-sockets"):
        left = asyncio.create_task(server())
        await asyncio.sleep(0)
    go.set()
    await left
    assert "a connection" in said()
    assert "alice" not in said()


def test_no_secret_gets_out_in_a_text_an_argument_an_error_or_beside_it(said: Said) -> None:
    key, token, bearer = SECRETS
    log.info("the key is %s", key)
    log.warning("clone https://x:%s@example.org", token)
    with activity.reconciling(AgentName(key)):
        log.info("beside")
    try:
        raise RuntimeError(f"Authorization: Bearer {bearer}")
    except RuntimeError:
        log.exception("failed with %r", {"token": token})
    assert said().count("[redacted]") >= 5
    assert "Traceback" in said()
    for secret in SECRETS:
        assert secret not in said()


def test_a_text_cannot_forge_a_line_or_move_the_cursor(said: Said, kind: str) -> None:
    log.info("hello\n<0>kernel: forged\x1b[2J\x00")
    assert "\x1b[2J" not in said()
    assert "\x00" not in said()
    if kind == "journal":
        assert said().splitlines() == ["<6>reconciler.loop.loop: hello", "<6><0>kernel: forged"]
    if kind == "json":
        assert len(said().splitlines()) == 1


def test_every_level_has_its_priority_in_the_journal() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.formatter("journal"))
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        handler.handle(logging.LogRecord("hive", level, "", 0, "x", (), None))
    assert [line[:3] for line in stream.getvalue().splitlines()] == ["<7>", "<6>", "<4>", "<3>", "<2>"]


def test_auto_is_the_journal_only_when_stderr_is_what_systemd_connected(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        found = os.fstat(stream.fileno())
        ours = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        assert logs.kind_of("auto", ours, stream) == "journal"
        assert logs.kind_of("auto", {"JOURNAL_STREAM": "1:2"}, stream) == "console"
        assert logs.kind_of("auto", {}, stream) == "console"
        assert logs.kind_of("json", ours, stream) == "json"
    assert logs.kind_of("auto", ours, io.StringIO()) == "console"


def test_setting_it_up_twice_writes_each_line_once(said: Said, kind: str) -> None:
    again = io.StringIO()
    logs.set_up(kind, {}, again)
    log.info("once")
    assert "once" not in said()
    assert again.getvalue().count("once") == 1

"""The real claude CLI in a sandbox without network: it reaches its model by a key that stays outside, over TLS.

The model is a stand-in behind TLS on loopback, with a certificate of the tests' own authority. The daemon starts
hive-egress itself.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meta.names import AgentName
from reconciler.network.process import running
from tests.support.egress import connect, report_of
from tests.support.fake_messages_api import FakeMessages
from tests.support.lab import Lab, fresh_lab
from tests.support.memory_search import descendants, in_files, in_processes
from tests.support.own_ca import ca_file, server_context
from tests.support.real_agents import (
    REAL,
    SETTINGS,
    Model,
    cli_of,
    failures,
    newest_prompt,
    operator_has,
    plan,
    send,
    send_message,
    state_is,
    turn_state,
)
from tests.support.upstream import Upstream

pytestmark = REAL
ALICE = AgentName("alice")
KEY = "sk-ant-api03-a-key-that-stays-outside"
MODELS = "models.example"
ECHO = "echo.example"
WANTED = "wanted.example"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as servers:
        yield servers


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeMessages]:
    with FakeMessages() as messages:
        yield messages


@pytest.fixture(scope="module")
def lab(fake: FakeMessages, upstream: Upstream) -> Iterator[Lab]:
    settings = {**SETTINGS, "HIVE_EGRESS_START": "true", "SSL_CERT_FILE": str(ca_file())}
    with fresh_lab("key", settings, tiny=False) as made:
        port = fake.listen_tls(server_context(MODELS))
        echo, wanted = upstream.listen_echo(), upstream.listen_http("wanted")
        key = made.directory / "key"
        key.write_text(f"{KEY}\n", encoding="ascii")
        key.chmod(0o600)
        made.layout.network_file.write_text(
            f"""
private = ["{MODELS}:{port}", "{ECHO}:{echo}", "{WANTED}:{wanted}"]
[hosts]
"{MODELS}" = "127.0.0.1"
"{ECHO}" = "127.0.0.1"
"{WANTED}" = "127.0.0.1"
[credentials.anthropic]
file = "{key}"
upstream = "https://{MODELS}:{port}"
""",
            encoding="utf-8",
        )
        made.post("/api/agents/alice/spawn")
        made.settle("alice")
        made.post("/api/agents/alice/network/allow", rule=f"{ECHO}:{echo}", seconds=3600, propose=False)
        yield made


@pytest.fixture
def model(lab: Lab, fake: FakeMessages) -> Model:
    """The model of alice, who runs although she has no login."""
    state_is(lab, "alice", "running")
    fake.forget()
    return Model(lab, fake)


def test_a_turn_comes_back_metered_and_the_key_is_nowhere_inside(lab: Lab, model: Model) -> None:
    counted = len(model.fake.calls("main"))
    send_message(lab, "alice", plan(send("operator", "by the key outside"), {"text": "the words of the model"}))
    operator_has(lab, "by the key outside")
    lab.until(lambda: usage(lab) is not None)
    calls = model.fake.calls("main")[counted:]
    assert [call["headers"]["x-api-key"] for call in calls] == [KEY, KEY]
    pids = descendants(int(lab.agent("alice")["pid"]))
    assert in_processes([cli_of(lab, "alice")], b"the words of the model"), "the search finds nothing"
    assert in_processes(pids, KEY.encode()) == []
    root = Path(f"/proc/{cli_of(lab, 'alice')}/root")
    inside = [root / name for name in ("home", "state", "tmp", "run")]
    outside = (lab.layout.agent_home(ALICE), lab.layout.agent_state(ALICE), lab.layout.egress(ALICE))
    assert in_files([*inside, *outside], KEY.encode()) == []
    assert KEY not in lab.tail() + (lab.layout.egress_state / "log").read_text(encoding="utf-8")
    assert metered(lab) == answered(model)


def test_what_a_tool_is_refused_is_asked_for_allowed_and_then_reached(
    lab: Lab, model: Model, upstream: Upstream
) -> None:
    wanted = f"{WANTED}:{port_of(lab, WANTED)}"
    curl = {"tool": "Bash", "input": {"command": f"curl -sS http://{wanted}/"}}
    ask = {"host": WANTED, "port": int(wanted.partition(":")[2]), "why": "the build needs it"}
    request = {"tool": "mcp__hive__request_network", "input": ask}
    send_message(lab, "alice", plan(curl, request, send("operator", "it is asked for"), {"text": "waiting"}))
    operator_has(lab, "it is asked for")
    assert f"{wanted}-is-not-on-the-list-of-alice" in "".join(model.results("it is asked for"))
    (view,) = lab.get("/api/network", agent="alice")
    (pending,) = view["requests"]
    assert (pending["host"], pending["why"]) == (WANTED, "the build needs it")
    model.fake.when("is allowed until", curl, send("operator", "it is reached"), {"text": "done"})
    lab.until(lambda: turn_state(lab, "alice") == "idle")  # what was refused is news of the next turn
    lab.post("/api/agents/alice/network/allow", rule=str(pending["id"]), seconds=60, propose=False)
    operator_has(lab, "it is reached")
    assert f"wanted {wanted}" in "".join(lab.until(lambda: model.results("it is reached")))
    assert f"refused: {wanted}" in json.dumps([newest_prompt(body) for body in model.turns("is allowed until")])


def test_a_turn_goes_on_when_hive_egress_is_killed_in_the_middle(lab: Lab, model: Model) -> None:
    told = send("operator", "after the accident")
    send_message(lab, "alice", plan({"hang": 60, "then": told}, {"text": "done"}))
    lab.until(lambda: any("accident" in json.dumps(call["body"]) for call in model.fake.calls("main")))
    ((killed, _),) = running(lab.layout.egress_state)
    os.kill(killed.pid, signal.SIGKILL)
    operator_has(lab, "after the accident")
    ((healed, _),) = running(lab.layout.egress_state)
    assert healed != killed
    assert failures(lab, "after the accident") == [0]


def test_a_tunnel_survives_the_restart_of_the_daemon(lab: Lab, upstream: Upstream) -> None:
    state_is(lab, "alice", "running")
    status, tunnel = connect(lab.layout.egress(ALICE) / "egress.sock", f"{ECHO}:{port_of(lab, ECHO)}")
    assert status.startswith("200 ")
    with tunnel:
        before = running(lab.layout.egress_state)
        lab.kill()
        tunnel.sendall(b"while it is away")
        assert tunnel.recv(100) == b"while it is away"
        lab.start()
        lab.settle("alice")
        tunnel.sendall(b"after")
        assert tunnel.recv(100) == b"after"
        assert running(lab.layout.egress_state) == before


def port_of(lab: Lab, name: str) -> int:
    """Return the port of a host that network.toml names."""
    (port,) = re.findall(rf'"{name}:(\d+)"', lab.layout.network_file.read_text(encoding="utf-8"))
    return int(port)


def usage(lab: Lab) -> dict[str, Any] | None:
    """Return alice's row of `hive usage`, once it has a turn."""
    rows = lab.get("/api/usage", agent="alice")["agents"]
    return next((dict(row) for row in rows if row["agent"] == "alice" and row["models"]), None)


def metered(lab: Lab) -> dict[str, int]:
    """Return what hive-egress read of the answers."""
    days = report_of(lab.layout.egress_control).agents["alice"].metered.values()
    return {
        "requests": sum(day.requests for day in days),
        "input": sum(day.input for day in days),
        "output": sum(day.output for day in days),
    }


def answered(model: Model) -> dict[str, int]:
    """Return what the model says that it answered."""
    rows = model.fake.usages
    return {
        "requests": len(rows),
        "input": sum(row["input_tokens"] for row in rows),
        "output": sum(row["output_tokens"] for row in rows),
    }

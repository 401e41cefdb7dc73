"""What systemd's properties say about a container, and how a run ended. Values as dbus-fast gives them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from dbus_fast import Message, MessageType, Variant
from hypothesis import given
from hypothesis import strategies as st

from meta.names import AgentName, GenerationId
from reconciler.backends.nixos.bus import Signal, _pass_on
from reconciler.backends.nixos.records import UnitRun
from reconciler.backends.nixos.units import (
    UnitView,
    agent_of_path,
    agent_of_unit,
    judge,
    merged,
    object_path,
    unit_name,
)
from reconciler.plan.observed import Exit, Launch

ALICE = AgentName("alice")
BOOT, NOW = "boot-1", 1_000.0
FIRST, SECOND = "aa" * 16, "bb" * 16
RUN = UnitRun("n1", Launch(GenerationId("1" * 20), "f", "n1", at=900.0), BOOT, before="", invocation=FIRST)
UP = UnitView(active="active", invocation=FIRST, pid=42, started=900.0)
DOWN = UnitView(active="failed", result="exit-code", invocation=FIRST, code=1, status=7, started=900.0, ended=950.0)


def test_a_view_is_made_of_all_properties() -> None:
    properties: dict[str, object] = {
        "ActiveState": "active",
        "SubState": "running",
        "Result": "success",
        "InvocationID": bytes.fromhex(FIRST),
        "MainPID": 42,
        "ExecMainCode": 0,
        "ExecMainStatus": 0,
        "ExecMainStartTimestamp": 900_000_000,
    }
    assert merged(UnitView(), properties) == UP


def test_the_pid_stays_until_the_unit_is_down() -> None:
    ending = merged(UP, {"MainPID": 0, "ExecMainCode": 2, "ExecMainStatus": 9})
    assert ending.pid == 42
    assert merged(ending, {"ActiveState": "deactivating"}).pid == 42
    assert merged(ending, {"ActiveState": "failed"}).pid is None


def test_a_daemon_that_comes_while_the_unit_ends_still_finds_its_pid() -> None:
    assert merged(UnitView(), {"ActiveState": "deactivating", "MainPID": 0, "ExecMainPID": 42}).pid == 42


def test_properties_of_a_wrong_type_change_nothing() -> None:
    wrong: dict[str, object] = {"ActiveState": 5, "MainPID": "x", "InvocationID": None, "ExecMainCode": True}
    assert merged(UP, wrong) == UP


@pytest.mark.parametrize(
    ("view", "ended"),
    [
        pytest.param(DOWN, Exit("n1", 950.0, code=7), id="an exit code"),
        pytest.param(replace(DOWN, code=2, status=9), Exit("n1", 950.0, signal=9), id="a signal"),
        pytest.param(replace(DOWN, code=3, status=6), Exit("n1", 950.0, signal=6), id="a core dump"),
        pytest.param(replace(DOWN, code=0, status=0), Exit("n1", 950.0, code=1), id="failed before its main process"),
        pytest.param(replace(DOWN, code=1, status=0, ended=0.0), Exit("n1", NOW, code=0), id="no time: now"),
        pytest.param(replace(DOWN, invocation=SECOND), Exit("n1", NOW, lost=True), id="another run ended there"),
        pytest.param(replace(DOWN, invocation=""), Exit("n1", NOW, lost=True), id="systemd forgot it"),
        pytest.param(UP, None, id="it runs"),
        pytest.param(replace(DOWN, active="deactivating"), None, id="it is ending"),
    ],
)
def test_an_end_is_what_systemd_says_of_this_very_run(view: UnitView, ended: Exit | None) -> None:
    assert judge(RUN, view, BOOT, NOW) == ended


def test_a_run_of_an_earlier_boot_is_lost_whatever_the_unit_shows() -> None:
    for view in (UP, DOWN, UnitView()):
        assert judge(RUN, view, "boot-2", NOW) == Exit("n1", NOW, lost=True)


def test_a_run_without_an_invocation_is_known_by_its_time() -> None:
    cut = replace(RUN, invocation=None, before=SECOND)  # the daemon died in the start
    assert judge(cut, DOWN, BOOT, NOW) == Exit("n1", 950.0, code=7)
    assert judge(cut, replace(DOWN, started=800.0), BOOT, NOW) == Exit("n1", NOW, lost=True)
    assert judge(cut, replace(DOWN, invocation=SECOND), BOOT, NOW) == Exit("n1", NOW, lost=True)


def test_units_of_others_belong_to_no_agent() -> None:
    for name in ("container@.service", "container@Alice.service", "sshd.service", "container@operator.service", ""):
        assert agent_of_unit(name) is None
    for path in ("/", "/org/freedesktop/systemd1/unit/sshd_2eservice", "/org/freedesktop/systemd1/unit/container_4"):
        assert agent_of_path(path) is None


@given(st.from_regex(r"[a-z]([a-z0-9-]{0,9}[a-z0-9])?", fullmatch=True))
def test_an_agent_is_found_again_by_unit_and_by_path(text: str) -> None:
    agent = AgentName(text)
    if agent_of_unit(unit_name(agent)) is not None:  # not a reserved word
        assert agent_of_unit(unit_name(agent)) == agent
        assert agent_of_path(object_path(agent)) == agent


def test_the_path_of_a_unit_is_the_one_that_systemd_gives_it() -> None:
    assert object_path(AgentName("web-2")) == "/org/freedesktop/systemd1/unit/container_40web_2d2_2eservice"


def test_a_signal_comes_without_variants() -> None:
    seen: list[Signal] = []
    body = ["org.freedesktop.systemd1.Service", {"MainPID": Variant("u", 7), "Job": Variant("(uo)", [0, "/"])}, []]
    message = Message(
        message_type=MessageType.SIGNAL,
        path=object_path(ALICE),
        interface="org.freedesktop.DBus.Properties",
        member="PropertiesChanged",
        signature="sa{sv}as",
        body=body,
    )
    _pass_on(message, seen.append)
    assert seen[0].body[1] == {"MainPID": 7, "Job": [0, "/"]}
    assert agent_of_path(seen[0].path) == ALICE

"""`hive down`: nothing of the hive is left, and the next daemon starts what ran."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from api.cli.client.exit_codes import Code
from meta.process.unit import Unit, own_unit
from reconciler.backends.local import cgroups
from tests.support.lab import Lab, alive

pytestmark = [pytest.mark.bwrap, pytest.mark.lab(agents=("alice", "bob"))]


def left(lab: Lab) -> list[str]:
    """Return what is left of the hive: processes, sockets, control groups."""
    processes = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if str(lab.directory).encode() in words and int(folder.name) != os.getpid():
            processes.append(words.decode(errors="replace"))
    sockets = [str(path) for path in lab.layout.runtime.rglob("*.sock")]
    group = cgroups.detect(lab.layout.owner.read_text(encoding="ascii").strip())
    groups = [str(each.base / group.group) for each in group.hierarchies if (each.base / group.group).exists()]
    return processes + sockets + groups


def phases(lab: Lab) -> dict[str, str]:
    return {name: row["phase"] for name, row in lab.agents().items()}


def test_down_ends_all_agents_then_the_daemon_and_serve_brings_back_what_ran(lab: Lab) -> None:
    lab.do("bob", "stop")
    pid = lab.pid
    done = lab.hive("down", "--yes")
    assert done.code == Code.OK, done
    assert done.out == f"alice is stopped\nmanager is stopped\nthe daemon (pid {pid}) has ended\n"
    assert lab.died() == 0
    assert left(lab) == []
    done = lab.hive("down", "--yes")
    assert (done.code, done.out) == (Code.OK, "nothing of this hive was running\n")

    lab.start()
    for name in ("alice", "manager"):
        lab.settle(name)
    assert phases(lab) == {"alice": "running", "bob": "stopped", "manager": "running"}
    assert lab.agent("alice")["crashes"] == 0
    ended = {event["kind"]: event["data"] for kind in ("hive_down", "daemon_stopped") for event in lab.events(kind)}
    assert ended["hive_down"]["agents"] == ["alice", "manager"]
    assert ended["daemon_stopped"] == {"down": True}
    lab.do("bob", "start")


def test_down_without_a_daemon_ends_what_a_killed_one_left(lab: Lab) -> None:
    pids = {name: row["pid"] for name, row in lab.agents().items()}
    lab.kill()
    (lab.layout.backend("local") / "bob" / "run.json").unlink()  # it is found by its command line
    assert all(alive(pid) for pid in pids.values())
    done = lab.hive("down", "--yes", "--json")
    assert done.code == Code.OK, done
    said = json.loads(done.out)
    assert [row["agent"] for row in said["agents"]] == ["alice", "bob", "manager"]
    assert said["daemon"] is None
    assert str(lab.layout.http_socket) in said["sockets"]
    assert left(lab) == []
    assert not any(alive(pid) for pid in pids.values())
    lab.start()
    for name in pids:
        lab.settle(name)
    assert set(phases(lab).values()) == {"running"}


def test_down_names_a_daemon_that_does_not_answer(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.cli.commands.down.LEAVE_SECONDS", 0.1)
    monkeypatch.setattr("api.cli.commands.down._ask", lambda *_: {})
    done = lab.hive("down", "--yes")
    assert done.code == Code.CONFLICT
    assert f"another daemon (pid {lab.pid}) has {lab.layout.state}" in done.err
    assert "kill it" in done.err
    assert lab.agent("alice")["phase"] == "running"


def test_a_daemon_that_is_a_unit_stops_its_agents_and_names_the_command_that_ends_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {"agents": [], "pid": 7, "unit": "hive.service", "stop": Unit("hive.service").command("stop")}
    monkeypatch.setattr("api.cli.commands.down._ask", lambda *_: answer)
    done = lab.hive("down", "--yes")
    assert done.code == Code.CONFLICT
    assert "`sudo systemctl stop hive.service` ends it" in done.err


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/hive.service\n", Unit("hive.service")),
        ("12:pids:/x\n1:name=systemd:/system.slice/hive.service\n", Unit("hive.service")),
        ("0::/user.slice/user-7.slice/user@7.service/app.slice/hive.service", Unit("hive.service", user=True)),
        ("0::/user.slice/user-7.slice/user@7.service/app.slice/x.scope", None),
        ("0::/user.slice/user-7.slice/session-1.scope", None),
        ("0::/", None),
    ],
)
def test_a_unit_is_what_systemd_started_this_process_for(cgroup: str, unit: Unit | None) -> None:
    assert own_unit({"SYSTEMD_EXEC_PID": str(os.getpid())}, cgroup) == unit
    assert own_unit({"SYSTEMD_EXEC_PID": "1", "INVOCATION_ID": "x"}, cgroup) is None
    assert own_unit({}, cgroup) is None

"""What is deleted by hand comes back, what was decided while the daemon was down is done, and a rebuild does all."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from meta.names import AgentName
from tests.support.lab import WAIT, Lab, alive
from tests.support.threads import sleeping_thread

ALICE = AgentName("alice")
CAROL = AgentName("carol")
GOOD = 'label = "good"\n'

pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.lab(agents=("alice", "bob"), settings={"HIVE_HEALTH_DEADLINE": "10", "HIVE_RESYNC": "0.15"}),
]


def place(lab: Lab, agent: str = "alice") -> Path:
    """The backend's directory of an agent."""
    return lab.layout.backend("local") / agent


def generation(lab: Lab) -> Path:
    """What alice runs, on disk."""
    (found,) = (path for path in lab.layout.generations(ALICE).iterdir() if path.name == lab.agent()["generation"])
    return found


def root(lab: Lab) -> Path:
    return lab.layout.roots(ALICE) / f"{lab.agent()['deployed']}.json"


def remove(path: Path) -> None:
    """As `rm -rf` does it."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    for folder in (path, *(each for each in path.rglob("*") if each.is_dir() and not each.is_symlink())):
        folder.chmod(0o755)
    shutil.rmtree(path)


# what is damaged
def empty(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"")


def replace_with_fifo(path: Path) -> None:
    path.parent.chmod(0o755)
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("damage", [empty, replace_with_fifo])
@pytest.mark.parametrize("name", ["tree/agent.toml", "generation.json"])
def test_a_damaged_generation_is_built_again_before_its_next_start(
    lab: Lab, damage: Callable[[Path], None], name: str
) -> None:
    before, path = lab.agent()["generation"], generation(lab) / name
    content = path.read_bytes()
    damage(path)
    lab.do("alice", "restart")
    assert (lab.agent()["phase"], lab.agent()["generation"]) == ("running", before)
    assert path.read_bytes() == content


def test_a_rollback_to_a_damaged_generation_builds_it_anew(lab: Lab) -> None:
    lab.deploy('label = "first"\n')
    first, content = generation(lab), (generation(lab) / "tree/agent.toml").read_bytes()
    lab.deploy('label = "second"\n')
    empty(first / "tree/agent.toml")
    lab.post("/api/agents/alice/rollback")
    lab.settle("alice")
    assert lab.agent()["phase"] == "running"
    assert (generation(lab) / "tree/agent.toml").read_bytes() == content


# what is deleted
DELETIONS: dict[str, tuple[Callable[[Lab], Path], bool]] = {
    "settings": (lambda lab: place(lab) / "settings.json", True),
    "mcp socket": (lambda lab: lab.layout.mcp_socket(ALICE), True),
    "harness socket": (lambda lab: lab.layout.harness_socket(ALICE), True),
    "http socket": (lambda lab: lab.layout.agent_http_socket(ALICE), True),
    "generation": (generation, True),
    "system link": (lambda lab: place(lab) / "system", True),
    "work tree": (lambda lab: lab.layout.proposed_config(ALICE), True),
    "proposed folder": (lambda lab: lab.layout.proposed(ALICE), True),
    "root record": (root, True),
    "roots": (lambda lab: lab.layout.roots(ALICE), True),
    "container": (place, False),
}
"""What -> where it is, and whether alice runs on while it is made again."""


@pytest.mark.parametrize("what", DELETIONS)
def test_what_is_deleted_by_hand_is_made_again_by_the_resync(lab: Lab, what: str) -> None:
    where, runs_on = DELETIONS[what]
    before, bob, path = lab.agent(), lab.agent("bob"), where(lab)
    remove(path)
    lab.until(path.exists)  # nobody asks: the resync finds it
    lab.settle("alice")
    after = lab.agent()
    assert (after["phase"], after["generation"]) == ("running", before["generation"])
    assert (after["pid"] == before["pid"]) is runs_on
    assert runs_on or not alive(before["pid"])
    assert lab.ask("alice", cmd="whoami")["name"] == "alice"
    assert lab.agent("bob")["pid"] == bob["pid"]


@pytest.mark.parametrize("name", ["host.sock", "http.sock"])
def test_a_socket_of_the_operators_is_made_again_and_open_connections_go_on(lab: Lab, name: str) -> None:
    path = lab.layout.runtime / name
    with lab.lines(lab.layout.host_socket) as line, lab.client().events() as stream:
        path.unlink()
        while not path.exists():
            assert line({"cmd": "list"})["ok"]
            stream.next(0.05)
        assert line({"cmd": "list"})["ok"]
    assert lab.host(cmd="list")["ok"]
    assert lab.until(lambda: f"{name} was removed" in [event["data"]["what"] for event in lab.events("repaired")])


def test_an_agent_starts_from_what_was_made_again(lab: Lab) -> None:
    for path in (place(lab) / "settings.json", place(lab) / "system", generation(lab), root(lab)):
        remove(path)
    lab.do("alice", "restart")
    assert lab.agent()["phase"] == "running"


def test_the_settings_file_edited_by_hand_is_written_again(lab: Lab) -> None:
    path = place(lab) / "settings.json"
    before = path.read_text(encoding="utf-8")
    path.write_text(before.replace("2048", "4096"), encoding="utf-8")
    lab.until(lambda: path.read_text(encoding="utf-8") == before)
    lab.settle("alice")


def test_a_rebuild_applies_every_host_artefact_again(lab: Lab) -> None:
    before = lab.agent()["pid"]
    limits = [
        Path(line).parent for line in json.loads((place(lab) / "spec.json").read_text(encoding="utf-8"))["cgroups"]
    ]
    config = lab.layout.proposed_config(ALICE) / ".git" / "config"
    lab.git(lab.directory, "config", "--file", str(config), "--remove-section", "remote.applied")
    for path in (place(lab) / "settings.json", lab.layout.mcp_socket(ALICE), generation(lab), root(lab)):
        remove(path)
    written = {file: file.read_text() for group in limits for file in group.glob("*.max")}
    for file in written:
        file.write_text("max")
    lab.do("alice", "rebuild")
    after = lab.agent()
    assert after["phase"] == "running"
    assert after["pid"] != before
    assert "url = /applied/alice/.git" in config.read_text(encoding="utf-8")
    assert {file: file.read_text() for file in written} == written
    assert (place(lab) / "settings.json").exists()
    assert root(lab).exists()
    assert generation(lab).is_dir()
    assert lab.ask("alice", cmd="whoami")["name"] == "alice"


def test_another_process_of_the_agent_that_connects_as_its_harness_ends_nothing(lab: Lab) -> None:
    before = lab.agent()
    launch = json.loads((place(lab) / "run.json").read_text())["launch"]
    hello = {"up": "hello", "generation": launch["generation"], "nonce": launch["nonce"], "state": "thinking"}
    for line in (b"", json.dumps(hello).encode() + b"\n"):
        with socket.socket(socket.AF_UNIX) as stray:
            stray.settimeout(WAIT)
            stray.connect(str(lab.layout.harness_socket(ALICE)))
            stray.sendall(line)
            if line:
                assert b"hold" in stray.recv(1000)
                lab.until(lambda: lab.agent()["turn"] == "idle")  # the harness came back
    lab.settle("alice")
    after = lab.agent()
    assert (after["pid"], after["crashes"], after["turn"]) == (before["pid"], 0, "idle")


def test_limits_are_enforced_or_status_says_that_they_are_not(lab: Lab) -> None:
    groups = json.loads((place(lab) / "spec.json").read_text(encoding="utf-8"))["cgroups"]
    words = lab.get("/api/status")["limits"]
    assert ("not enforced:" in words) if not groups else ("enforced" in words)


# what is not hive's
def test_a_container_without_hives_marker_is_never_touched(lab: Lab) -> None:
    foreign = place(lab, CAROL)
    foreign.mkdir()
    (foreign / "precious").write_text("keep", encoding="utf-8")
    lab.post("/api/agents/carol/spawn")
    lab.settle("carol")
    card = lab.card(0, "carol")
    assert card["state"] == "failed"
    assert "a container named carol exists that hive did not make" in card["note"]
    assert "choose another name" in card["note"]
    lab.do("carol", "destroy", purge=True)
    assert (foreign / "precious").read_text(encoding="utf-8") == "keep"
    assert not lab.applied("carol").exists()
    remove(foreign)
    lab.spawn("carol")
    lab.do("carol", "destroy")
    assert not foreign.exists()


# while the daemon is down
def cards(lab: Lab) -> list[dict[str, object]]:
    found = lab.get("/api/proposals", all=True, limit=1000)
    return sorted(found, key=lambda card: (card["agent"], card["id"]))


def test_an_approval_written_with_plain_git_while_the_daemon_is_down_is_deployed_at_start(lab: Lab) -> None:
    id = lab.propose(GOOD)
    lab.stop()
    lab.git(lab.applied(), "tag", "-a", "-m", "by hand", f"approved/{id}", f"proposal/{id}^{{commit}}")
    lab.start()
    lab.settle("alice")
    assert lab.card(id)["state"] == "deployed"
    assert lab.agent()["sha"] == lab.ref(f"proposal/{id}")


@pytest.mark.parametrize("which", ["supervisor", "child"])
def test_a_daemon_starts_though_a_recorded_pid_is_now_a_thread_of_something_else(lab: Lab, which: str) -> None:
    bob = lab.agent("bob")["pid"]
    lab.do("alice", "stop")
    lab.stop()
    path = place(lab) / "run.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    with sleeping_thread() as thread:
        record[which]["pid"] = thread
        path.write_text(json.dumps(record), encoding="utf-8")
        lab.start()
        lab.settle()
        assert lab.agent("bob")["pid"] == bob
        lab.do("alice", "start")
    assert lab.agent()["phase"] == "running"


def test_cards_come_back_from_the_tags_when_the_database_is_deleted(lab: Lab) -> None:
    lab.post(f"/api/proposals/{lab.propose(GOOD)}/deny", reason="no")
    lab.propose('label = "open"\n')
    before, pid = cards(lab), lab.agent()["pid"]
    lab.stop()
    for path in lab.layout.state.glob("hive.db*"):
        path.unlink()
    lab.start()
    lab.settle()
    assert cards(lab) == before
    (event,) = lab.events("database_rebuilt")
    assert event["data"] == {"set_aside": None}
    assert lab.agent()["pid"] == pid


def test_a_corrupt_database_is_set_aside_and_made_again(lab: Lab) -> None:
    before = cards(lab)
    lab.stop()
    lab.layout.database.write_bytes(b"no database at all" * 1000)
    lab.start()
    lab.settle()
    assert cards(lab) == before
    (event,) = lab.events("database_rebuilt")
    aside = Path(event["data"]["set_aside"])
    assert aside.read_bytes().startswith(b"no database at all")
    assert aside.parent == lab.layout.state
    (note,) = [note for note in lab.get("/api/status")["notes"] if "was damaged" in note]
    assert str(aside) in note
    assert "1 warning" in lab.hive("audit", "verify").out
    assert str(aside) in lab.hive("doctor").out
    aside.unlink()
    assert not [note for note in lab.get("/api/status")["notes"] if "was damaged" in note]

"""Every helper event, made to happen: what the manager finds in its inbox, each once, with sha, tag and note."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from api.cli.client.exit_codes import Unreachable
from meta.names import AgentName
from tests.support.lab import Lab, fresh_lab

GOOD = 'label = "good"\n'
BAD = '[start]\nfault = "never-hello"\n'
ALICE = AgentName("alice")
pytestmark = pytest.mark.lab(agents=("alice",), settings={"HIVE_HEALTH_DEADLINE": "2", "HIVE_RESYNC": "0.2"})


@pytest.fixture(scope="module")
def fake() -> Iterator[Lab]:
    """Containers that are only files: quick to kill a daemon over, and the harness is the test itself."""
    with fresh_lab("f", {"HIVE_RESYNC": "0.2", "HIVE_RECONNECT_GRACE": "30"}, backend="fake") as made:
        made.spawn("alice")
        yield made


def told(lab: Lab, event: str, agent: str = "alice", **fields: object) -> list[dict[str, Any]]:
    """The helper events in the manager's inbox, oldest first, without the name of the event and the agent."""
    found = [json.loads(body) for body in lab.inbox("manager")]
    of_kind = [each for each in found if (each["event"], each["agent"]) == (event, agent)]
    return [
        {key: value for key, value in each.items() if key not in ("event", "agent")}
        for each in of_kind
        if all(each.get(key) == value for key, value in fields.items())
    ]


def awaited(lab: Lab, event: str, agent: str = "alice", **fields: object) -> dict[str, Any]:
    """The only such event, once it is there."""
    lab.until(lambda: told(lab, event, agent, **fields))
    (only,) = told(lab, event, agent, **fields)
    return only


def strike(lab: Lab, failpoint: str, path: str) -> None:
    """Let the daemon die at `failpoint` over a request, perhaps before it answers, and start it again."""
    lab.arm(failpoint)
    with contextlib.suppress(Unreachable):
        lab.post(path)
    lab.died()
    lab.start()


@pytest.mark.bwrap
def test_a_deploy_that_succeeds_is_rebuilt_and_resolved_with_the_commit_and_the_tag(lab: Lab) -> None:
    id = lab.propose(GOOD)
    assert told(lab, "approval_resolved", id=id) == []
    card = lab.approve(id)
    sha, tag = lab.ref(f"deployed/{id}"), f"deployed/{id}"
    assert awaited(lab, "rebuilt", tag=tag) == {"ok": True, "sha": sha, "tag": tag}
    assert awaited(lab, "approval_resolved", id=id) == {
        "id": id,
        "commit_ref": card["commit_ref"],
        "status": "approved",
        "sha": sha,
        "tag": tag,
    }
    with lab.lines(lab.layout.mcp_socket(AgentName("manager"))) as line:
        first = line({"cmd": "recv", "wait_seconds": 0})
        line({"cmd": "requeue_inflight"})
    assert first["from"] == "system"


@pytest.mark.bwrap
def test_a_deploy_that_fails_says_why_with_the_proposal_and_the_failed_tag(lab: Lab) -> None:
    card = lab.deploy(BAD)
    id, sha = card["id"], lab.ref(f"proposal/{card['id']}")
    rebuilt = awaited(lab, "rebuilt", tag=f"failed/{id}")
    assert (rebuilt["ok"], rebuilt["sha"]) == (False, sha)
    assert "no harness connected" in rebuilt["note"]
    ended = awaited(lab, "approval_resolved", id=id)
    assert (ended["status"], ended["sha"], ended["tag"]) == ("failed", sha, f"failed/{id}")
    assert ended["note"] == rebuilt["note"]


@pytest.mark.bwrap
def test_a_denial_is_told_with_its_reason_and_nothing_is_rebuilt(lab: Lab) -> None:
    id = lab.propose('label = "denied"\n')
    lab.post(f"/api/proposals/{id}/deny", reason="not now")
    ended = awaited(lab, "approval_resolved", id=id)
    assert (ended["status"], ended["tag"], ended["note"]) == ("denied", f"denied/{id}", "not now")
    assert ended["sha"] == lab.card(id)["fetched_sha"]
    assert told(lab, "rebuilt", tag=f"denied/{id}") == []


@pytest.mark.bwrap
def test_a_rebuild_without_an_approval_has_neither_commit_nor_tag_and_says_when_it_fails(lab: Lab) -> None:
    before = len(told(lab, "rebuilt", tag=None))
    lab.do("alice", "rebuild")
    assert lab.until(lambda: told(lab, "rebuilt", tag=None)[before:]) == [{"ok": True}]
    home = lab.layout.agent_home(ALICE)
    home.rename(home.with_name("aside"))
    home.write_text("in the way")
    lab.post("/api/agents/alice/rebuild")
    [failed] = lab.until(lambda: told(lab, "rebuilt", tag=None)[before + 1 :])
    assert failed == {"ok": False, "note": failed["note"]}
    assert "is not a directory" in failed["note"]
    home.unlink()
    home.with_name("aside").rename(home)
    assert lab.until(lambda: told(lab, "rebuilt", tag=None)[before + 2 :]) == [{"ok": True}]
    lab.settle("alice")


@pytest.mark.bwrap
def test_a_crash_is_told_with_how_it_ended_and_an_agent_that_was_stopped_is_killed_not_crashed(lab: Lab) -> None:
    lab.do("alice", "restart")
    assert told(lab, "killed") == []
    before = len(told(lab, "container_crash"))
    os.kill(lab.agent()["pid"], signal.SIGKILL)
    [crash] = lab.until(lambda: told(lab, "container_crash")[before:])
    assert "signal 9" in crash["note"] or "exited" in crash["note"]
    lab.settle("alice")
    lab.do("alice", "stop")
    assert awaited(lab, "killed") == {}
    lab.do("alice", "start")
    assert len(told(lab, "container_crash")) == before + 1


def test_a_spawn_without_an_approval_is_told_with_the_seed_and_resolves_none(fake: Lab) -> None:
    assert awaited(fake, "spawned") == {"ok": True, "sha": fake.ref("deployed/0")}
    assert told(fake, "approval_resolved") == []
    assert told(fake, "spawned", "manager") == []


def test_a_spawn_that_was_asked_for_is_resolved_and_one_that_cannot_be_says_why(fake: Lab) -> None:
    ids = {}
    (fake.layout.backend("fake") / "eve.json").write_text(json.dumps({"owner": "another"}))
    for name in ("carol", "eve"):
        assert fake.host(cmd="request_spawn", name=name)["ok"]
        [card] = fake.get("/api/proposals", agent=name)
        ids[name] = card["id"]
        fake.approve(card["id"])
    assert awaited(fake, "spawned", "carol") == {"ok": True, "sha": fake.ref("deployed/0", "carol")}
    good = awaited(fake, "approval_resolved", "carol")
    tag = f"deployed/{ids['carol']}"
    assert good == {"id": ids["carol"], "commit_ref": "", "status": "approved", "tag": tag}
    bad, failed = awaited(fake, "spawned", "eve"), awaited(fake, "approval_resolved", "eve")
    assert (bad["ok"], "sha" in bad) == (False, False)
    assert (failed["status"], failed["tag"], failed["note"]) == ("failed", f"failed/{ids['eve']}", bad["note"])
    (fake.layout.backend("fake") / "eve.json").unlink()


def test_a_login_that_is_missing_and_one_that_came_are_told_once_each(fake: Lab) -> None:
    launch = json.loads((fake.layout.backend("fake") / "alice.json").read_text())["launch"]
    hello = {"up": "hello", "generation": launch["generation"], "nonce": launch["nonce"], "state": "needs-login"}

    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(fake.layout.harness_socket(ALICE)))
        link.sendall(json.dumps(hello).encode() + b"\n")
        assert awaited(fake, "needs_login") == {}
        fake.until(lambda: fake.agent()["phase"] == "needs-login")
        link.sendall(b'{"up": "state", "state": "drained"}\n{"up": "state", "state": "needs-login"}\n')
        fake.settle("alice")
        assert told(fake, "logged_in") == []
        link.sendall(b'{"up": "state", "state": "idle"}\n')
        assert awaited(fake, "logged_in") == {}
    fake.kill()
    fake.start()
    fake.settle("alice")
    assert (len(told(fake, "needs_login")), len(told(fake, "logged_in"))) == (1, 1)


def test_a_manager_that_waits_hears_at_once(fake: Lab) -> None:
    while fake.ask("manager", cmd="recv", wait_seconds=0)["kind"] == "message":
        fake.ask("manager", cmd="ack_turn")
    fake.spawn("wake")
    while fake.ask("manager", cmd="recv", wait_seconds=0)["kind"] == "message":
        pass
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        waiting = pool.submit(fake.ask, "manager", cmd="recv", wait_seconds=25)
        fake.do("wake", "stop")
        answer = waiting.result()
    assert json.loads(str(answer["body"])) == {"event": "killed", "agent": "wake"}
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("failpoint", ["stop:after", "remember-stop:after"])
def test_a_stop_is_told_once_though_the_daemon_died_over_it(fake: Lab, failpoint: str) -> None:
    name = f"s-{failpoint.split(':', maxsplit=1)[0][:4]}"
    fake.spawn(name)
    strike(fake, failpoint, f"/api/agents/{name}/stop")
    assert awaited(fake, "killed", name) == {}
    fake.kill()
    fake.start()
    fake.settle(name)
    assert len(told(fake, "killed", name)) == 1


@pytest.mark.parametrize("failpoint", ["destroy:before", "destroy:after", "close-sockets:after", "forget-memo:after"])
def test_a_destroy_is_told_once_though_the_daemon_died_over_it(fake: Lab, failpoint: str) -> None:
    name = f"d-{''.join(failpoint.split(':'))[:7]}{'ab'[failpoint.endswith('after')]}"
    fake.spawn(name)
    assert fake.ask(name, cmd="ask", question="why?", to=None)["kind"] == "question_queued"
    timing = {"timing_type": "in_seconds", "seconds": 900}
    assert fake.ask(name, cmd="remind", message="later", timing=timing) == {"kind": "ok"}
    strike(fake, failpoint, f"/api/agents/{name}/destroy")
    assert awaited(fake, "destroyed", name) == {}
    fake.settle(name)
    assert len(told(fake, "destroyed", name)) == 1
    open_ends = fake.ask("manager", cmd="get_loose_ends")["loose_ends"]
    assert [end for end in open_ends if name in (end.get("asker"), end.get("owner"))] == []

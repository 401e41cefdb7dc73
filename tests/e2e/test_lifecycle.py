"""What becomes of an agent: spawn, start, stop, destroy, purge, and the decisions about a proposal."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from api.cli.client.exit_codes import Code
from meta.errors import Conflict, HiveError, Refused
from meta.names import AgentName
from tests.support.lab import Lab, alive

GOOD = 'label = "good"\n'
MUTE = '[start]\nfault = "never-hello"\n'
GATE = {"HIVE_HEALTH_DEADLINE": "20"}
"""Long enough that nothing fails at the gate while a test does something there."""

pytestmark = [pytest.mark.bwrap, pytest.mark.lab(agents=("alice", "bob"), settings=GATE)]


def in_gate(lab: Lab, agent: str = "alice") -> int:
    """Approve a commit that does not become healthy; its id, once it was started."""
    id = lab.propose(MUTE, agent)
    lab.post(f"/api/proposals/{id}/approve")
    lab.until(lambda: any(event["data"]["deploy"] == id for event in lab.events("agent_started", agent)))
    return id


# spawn
def test_a_spawned_agent_runs_its_seed_and_has_the_tag_deployed_0(lab: Lab) -> None:
    assert {"proposal/0", "approved/0", "building/0", "deployed/0"} <= lab.tags("bob")
    assert lab.ref("refs/heads/main", "bob") == lab.ref("deployed/0", "bob") == lab.agent("bob")["sha"]
    assert lab.card(0, "bob")["kind"] == "spawn"
    with pytest.raises(Conflict, match="bob already exists"):
        lab.post("/api/agents/bob/spawn")


def test_a_requested_agent_is_made_on_approval_and_has_both_its_id_and_deployed_0(lab: Lab) -> None:
    card = lab.post("/api/agents/carol/request-spawn", description="a reviewer")
    assert (card["status"], card["commit_ref"], card["description"]) == ("pending", "", "a reviewer")
    assert "carol" not in lab.agents()
    assert lab.approve(card["id"])["state"] == "deployed"
    assert {f"deployed/{card['id']}", "deployed/0"} <= lab.tags("carol")
    assert lab.agent("carol")["phase"] == "running"


def test_a_request_for_a_name_that_exists_fails_at_approval_and_leaves_the_agent_alone(lab: Lab) -> None:
    before = lab.agent("bob")
    id = lab.post("/api/agents/bob/request-spawn")["id"]
    card = lab.approve(id)
    assert (card["status"], card["note"]) == ("failed", "an agent named bob already exists")
    assert "an agent named bob already exists" in lab.told(f"failed/{id}", "bob")
    assert lab.agent("bob")["pid"] == before["pid"]


def test_a_destroyed_agent_keeps_its_repos_and_state_and_a_respawn_goes_on_with_them(lab: Lab) -> None:
    lab.spawn("dora")
    deployed = lab.deploy(GOOD, "dora")
    memory = lab.layout.agent_state(AgentName("dora")) / "notes"
    memory.write_text("remember", encoding="utf-8")
    tags, pid = lab.tags("dora"), lab.agent("dora")["pid"]

    lab.do("dora", "destroy")
    assert "dora" not in lab.agents()
    assert not alive(pid)
    assert not lab.layout.mcp_socket(AgentName("dora")).exists()
    assert not (lab.layout.backend("local") / "dora").exists()
    assert (memory.read_text(encoding="utf-8"), lab.tags("dora")) == ("remember", tags)
    assert lab.layout.proposed_config(AgentName("dora")).is_dir()

    card = lab.post("/api/agents/dora/request-spawn")
    assert "goes on with the kept repos and state of the destroyed agent dora" in card["description"]
    assert lab.approve(card["id"])["state"] == "deployed"
    again = lab.agent("dora")
    assert (again["phase"], again["sha"]) == ("running", deployed["fetched_sha"])
    assert memory.read_text(encoding="utf-8") == "remember"
    assert tags < lab.tags("dora")


def test_a_respawn_owes_no_rebuild_of_the_agent_that_was_destroyed(lab: Lab) -> None:
    lab.spawn("ines")
    lab.do("ines", "rebuild")
    lab.do("ines", "restart")
    lab.do("ines", "destroy")
    done = len(lab.events("agent_rebuilt", "ines")), len(lab.events("agent_restarted", "ines"))
    lab.spawn("ines")
    assert (len(lab.events("agent_rebuilt", "ines")), len(lab.events("agent_restarted", "ines"))) == done == (1, 1)
    run = json.loads(lab.git(lab.layout.meta_git, "show", "run:run.json"))
    assert run["agents"]["ines"] == {"state": "running", "restarts": 0, "rebuilds": 0}


def test_a_spawn_that_failed_is_shown_with_its_reason_and_what_can_be_done(lab: Lab) -> None:
    in_the_way = lab.layout.agent_state(AgentName("jo"))
    in_the_way.parent.mkdir()
    in_the_way.write_text("no directory", encoding="utf-8")
    said = lab.hive("spawn", "jo", "--wait")
    assert said.code == 1, said
    assert f"0 of jo is failed: {in_the_way} is not a directory" in said.err
    assert "try: `hive diff 0 --agent jo` shows its last lines, `hive spawn jo` tries again" in said.err
    assert f"  failed: {in_the_way} is not a directory" in lab.hive("diff", "0", "--agent", "jo").out
    lab.settle("jo")
    shown = lab.agent("jo")
    assert (shown["phase"], shown["desired"]) == ("failed", "absent")
    assert f"its spawn 0 failed: {in_the_way} is not a directory" in shown["conditions"][0]
    assert "`hive spawn jo` tries again, `hive destroy jo --purge` forgets it" in shown["conditions"][1]
    in_the_way.unlink()
    said = lab.hive("spawn", "jo", "--wait")
    assert said.code == 0, said
    assert lab.agent("jo")["phase"] == "running"


def test_a_failed_spawn_is_forgotten_with_a_purge(lab: Lab) -> None:
    in_the_way = lab.layout.agent_state(AgentName("kim"))
    in_the_way.parent.mkdir()
    in_the_way.write_text("no directory", encoding="utf-8")
    lab.post("/api/agents/kim/spawn")
    lab.settle("kim")
    assert lab.agent("kim")["phase"] == "failed"
    lab.do("kim", "destroy", purge=True)
    assert "kim" not in lab.agents()


@contextlib.contextmanager
def without_manager(path: str) -> Iterator[tuple[Lab, Path]]:
    """A hive where a file is in the way of its manager; the hive and the file."""
    own = Lab(Path(f"/tmp/hive-{os.getpid()}-m"), GATE, nix=False)
    in_the_way = own.layout.state / path
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("no directory", encoding="utf-8")
    try:
        own.start()
        own.settle()
        yield own, in_the_way
        in_the_way.unlink()
        said = own.hive("spawn", "manager", "--wait")
        assert said.code == 0, said
        assert own.agent("manager")["phase"] == "running"
        assert "there is no manager" not in own.hive("status").out
    finally:
        own.kill()
        own.end_agents()
        shutil.rmtree(own.directory)


def test_a_manager_whose_spawn_failed_is_shown_and_can_be_spawned_again() -> None:
    with without_manager("agents/manager/state") as (own, in_the_way):
        shown = own.hive("status").out
        assert f"manager: its spawn 0 failed: {in_the_way} is not a directory" in shown
        assert "manager: `hive spawn manager` tries again\n" in shown


def test_a_manager_whose_repo_something_else_is_in_the_place_of_is_shown_once_with_the_remedy() -> None:
    with without_manager("applied/manager") as (own, in_the_way):
        line = f"manager: {in_the_way}/.git/config is damaged: it cannot be read (Not a directory)\n"
        assert own.hive("status").out.count(line) == 1
        found = own.hive("doctor", "--json").out
        (damage,) = [check for check in json.loads(found)["checks"] if check["check"] == "damage"]
        assert str(in_the_way) in json.dumps(damage)


def test_a_phase_began_when_it_began_and_not_when_somebody_looked(lab: Lab) -> None:
    lab.spawn("lea")
    healthy = lab.events("agent_healthy", "lea") or lab.events("deploy_succeeded", "lea")
    first = lab.agent("lea")["since"]
    assert abs(first - healthy[-1]["at"]) < 1.0
    lab.post("/api/agents/lea/stop")
    lab.get("/api/wait", agent="lea", timeout=20)
    stopped = lab.events("agent_stopped", "lea")[-1]["at"]
    lab.deploy(GOOD, "alice")  # time passes, nobody looks at lea
    assert abs(lab.agent("lea")["since"] - stopped) < 0.5


# start, stop, restart
def test_an_agent_is_stopped_started_and_restarted_without_a_crash_being_counted(lab: Lab) -> None:
    first = lab.agent("bob")["pid"]
    lab.do("bob", "stop")
    stopped = lab.agent("bob")
    assert (stopped["phase"], stopped["desired"], stopped["pid"]) == ("stopped", "stopped", None)
    assert not alive(first)
    lab.do("bob", "start")
    second = lab.agent("bob")
    assert second["phase"] == "running"
    lab.do("bob", "restart")
    third = lab.agent("bob")
    assert (third["phase"], third["crashes"]) == ("running", 0)
    assert third["pid"] != second["pid"]
    assert lab.events("container_crash", "bob") == []


def test_a_stop_during_a_deploy_ends_it_deployed_unproven_and_not_started(lab: Lab) -> None:
    id = in_gate(lab)
    lab.do("alice", "stop", now=True)
    assert lab.card(id)["state"] == "deployed"
    assert "Unproven: yes" in lab.told(f"deployed/{id}")
    seen = lab.agent()
    assert (seen["phase"], seen["pid"], seen["deployed"]) == ("stopped", None, id)
    lab.deploy(GOOD)
    lab.do("alice", "start")
    assert lab.agent()["phase"] == "running"


# the end
def test_destroy_ends_the_open_ids_of_the_agent(lab: Lab) -> None:
    lab.spawn("fred")
    pending = lab.propose(GOOD, "fred")
    flying = in_gate(lab, "fred")
    lab.do("fred", "destroy")
    assert [lab.card(id)["state"] for id in (pending, flying)] == ["denied", "failed"]
    assert "agent destroyed" in lab.told(f"denied/{pending}", "fred")
    assert "agent destroyed" in lab.told(f"failed/{flying}", "fred")
    assert "fred" not in lab.agents()


def test_an_agent_that_is_destroyed_already_is_said_to_be_so_and_can_still_be_purged(lab: Lab) -> None:
    lab.spawn("gina")
    lab.do("gina", "destroy")
    said = lab.hive("destroy", "gina", "--yes")
    assert said.code == Code.CONFLICT, said
    assert "gina is destroyed already" in said.err
    assert "--purge" in said.err
    lab.post("/api/agents/gina/request-spawn")
    lab.do("gina", "destroy")  # this is something to end
    assert lab.hive("pending", "--json").out.strip() == "[]"
    said = lab.hive("destroy", "gina", "--yes", "--purge", "--wait")
    assert said.code == Code.OK, said
    assert not lab.applied("gina").exists()


def test_the_manager_cannot_be_destroyed_on_any_surface(lab: Lab) -> None:
    before = lab.agent("manager")
    for purge in (False, True):
        answer = lab.host(cmd="destroy", name="manager", purge=purge)
        assert not answer["ok"]
        assert "the manager cannot be destroyed" in answer["error"]
        with pytest.raises(Refused, match="the manager cannot be destroyed"):
            lab.post("/api/agents/manager/destroy", purge=purge)
        assert lab.ask("manager", cmd="destroy", name="manager", purge=purge)["kind"] == "err"
    said = lab.hive("destroy", "manager", "--yes", "--purge")
    assert (said.code, "the manager cannot be destroyed" in said.err) == (4, True)
    lab.settle("manager")
    assert lab.agent("manager")["pid"] == before["pid"]


def test_purge_removes_exactly_what_is_kept_of_the_agent_and_follows_no_link(lab: Lab) -> None:
    lab.spawn("gina")
    gina, precious = AgentName("gina"), lab.directory / "precious"
    precious.mkdir()
    (precious / "file").write_text("keep", encoding="utf-8")
    (lab.layout.agent_state(gina) / "out").symlink_to(precious)
    (lab.layout.proposed_config(gina) / "out").symlink_to(precious)
    lab.settle()
    folders = ("agents", "applied", "proposed", "generations", "roots", "backend/local")
    before = {path for folder in folders for path in (lab.layout.state / folder).iterdir()}
    lab.do("gina", "destroy", purge=True)
    after = {path for folder in folders for path in (lab.layout.state / folder).iterdir()}
    assert before - after == {lab.layout.state / folder / "gina" for folder in folders}
    assert after <= before
    assert (precious / "file").read_text(encoding="utf-8") == "keep"
    assert "gina" not in lab.agents()
    lab.spawn("gina")
    assert not (lab.layout.agent_state(gina) / "out").exists()


@pytest.mark.parametrize("name", ["..", "../bob", "%2e%2e", "bob/../bob"])
def test_a_name_that_leads_elsewhere_is_no_name(lab: Lab, name: str) -> None:
    answer = lab.host(cmd="destroy", name=name, purge=True)
    assert "is no agent name" in answer["error"]
    with pytest.raises(HiveError):
        lab.post(f"/api/agents/{name}/destroy", purge=True)
    assert lab.agent("bob")["phase"] == "running"


def test_an_agents_directory_that_is_a_link_is_not_purged(lab: Lab) -> None:
    lab.spawn("hugo")
    lab.do("hugo", "destroy")
    elsewhere = lab.directory / "elsewhere"
    lab.layout.agent(AgentName("hugo")).rename(elsewhere)
    lab.layout.agent(AgentName("hugo")).symlink_to(elsewhere)
    lab.post("/api/agents/hugo/destroy", purge=True)
    lab.until(lambda: any("is a symlink" in text for text in lab.get("/api/plan", agent="hugo")[0]["conditions"]))
    assert (elsewhere / "state").is_dir()
    lab.layout.agent(AgentName("hugo")).unlink()
    lab.post("/api/reconcile", agent="hugo")
    lab.settle("hugo")
    assert (elsewhere / "state").is_dir()
    assert not lab.applied("hugo").exists()
    shutil.rmtree(elsewhere)


# decisions
def test_of_approve_and_deny_at_the_same_time_one_wins(lab: Lab) -> None:
    def decide(path: str) -> str:
        try:
            lab.post(path)
        except Conflict as error:
            return error.summary
        return "won"

    with ThreadPoolExecutor(2) as pool:
        for number in range(4):
            id = lab.propose(f'label = "race {number}"\n')
            said = list(pool.map(decide, (f"/api/proposals/{id}/approve", f"/api/proposals/{id}/deny")))
            assert said.count("won") == 1
            lab.settle("alice")
            ends = lab.tags() & {f"deployed/{id}", f"denied/{id}"}
            assert ends == {f"deployed/{id}" if said[0] == "won" else f"denied/{id}"}


def test_approving_another_commit_than_the_one_shown_is_refused(lab: Lab) -> None:
    id = lab.propose('label = "shown"\n')
    said = lab.hive("approve", str(id), "--sha", "1234567")
    assert said.code == 4
    assert f"proposal {id} is {lab.card(id)['fetched_sha'][:12]}, not 1234567" in said.err
    assert f"hive diff {id}" in said.err
    assert lab.card(id)["status"] == "pending"
    said = lab.hive("approve", str(id), "--sha", lab.card(id)["fetched_sha"][:10], "--wait")
    assert (said.code, lab.card(id)["state"]) == (0, "deployed")


def test_a_deploy_is_cancelled_at_the_gate_and_the_agent_goes_back(lab: Lab) -> None:
    before = lab.agent()
    id = in_gate(lab)
    lab.post(f"/api/proposals/{id}/cancel", reason="changed my mind")
    lab.settle("alice")
    assert lab.card(id)["state"] == "failed"
    assert "changed my mind" in lab.told(f"failed/{id}")
    after = lab.agent()
    assert (after["phase"], after["generation"]) == ("running", before["generation"])
    with pytest.raises(Conflict, match="already failed"):
        lab.post(f"/api/proposals/{id}/cancel")


def test_a_build_is_cancelled_and_its_program_ended(lab: Lab) -> None:
    """The builder's `nix-instantiate` is one that waits for ever."""
    tools = lab.directory / "bin"
    tools.mkdir()
    pipe = tools / "waits"
    os.mkfifo(pipe)
    for name in ("nix", "nix-instantiate"):
        (tools / name).write_text(f"#!/bin/sh\nread line < {pipe}\n", encoding="utf-8")
        (tools / name).chmod(0o755)
    lab.settings["PATH"] = f"{tools}:{os.environ['PATH']}"
    lab.stop()
    lab.start()
    lab.settle("alice")
    before = lab.agent()["pid"]
    clone = lab.commit(GOOD)
    (clone / "agent.nix").write_text("{ ... }: { }\n", encoding="utf-8")
    lab.git(clone, "commit", "-q", "-a", "-m", "slow")
    id = lab.post("/api/proposals", agent="alice", source=str(clone))["id"]
    lab.post(f"/api/proposals/{id}/approve")
    record = lab.until(lambda: next(lab.layout.processes.iterdir(), None))
    lab.post(f"/api/proposals/{id}/cancel")
    lab.settle("alice")
    assert lab.card(id)["state"] == "failed"
    assert lab.agent()["pid"] == before
    assert not record.exists()
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(tools) in _command(path)]


def _command(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""

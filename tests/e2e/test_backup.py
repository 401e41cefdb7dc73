"""A backup that is made while deploys run, restored elsewhere; and each part restored alone against running agents."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from api.cli.client.exit_codes import Code
from meta.names import AgentName
from tests.support.lab import Lab, discard

ALICE = AgentName("alice")

pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.lab(agents=("alice", "bob"), settings={"HIVE_HEALTH_DEADLINE": "10"}, fresh=True),
]


@pytest.fixture
def elsewhere() -> Iterator[Lab]:
    """Another place, where nothing is yet."""
    directory = Path(f"/tmp/hive-{os.getpid()}-e")
    discard(directory)
    directory.mkdir(mode=0o755)
    made = Lab(directory, {"HIVE_HEALTH_DEADLINE": "10"})
    yield made
    made.kill()
    made.end_agents()
    discard(directory)


def backup(lab: Lab, *options: str, name: str = "b.tar.gz") -> Path:
    """A backup beside the state directory."""
    target = lab.directory / name
    said = lab.hive("backup", str(target), "--yes", *options)
    assert (said.code, said.err) == (0, ""), said
    return target


def restore(lab: Lab, file: Path, *options: str) -> None:
    said = lab.hive("restore", str(file), "--yes", *options)
    assert (said.code, said.err) == (0, ""), said


def restore_part(lab: Lab, file: Path, part: str) -> None:
    """While no daemon runs and the agents go on."""
    lab.kill()
    restore(lab, file, "--only", part)
    lab.start()
    lab.settle()


def names(file: Path) -> set[str]:
    with tarfile.open(file) as tar:
        return set(tar.getnames())


def audit(lab: Lab) -> tuple[int, list[str]]:
    said = lab.hive("audit", "verify", "--json")
    assert said.err == ""
    return said.code, [finding["rule"] for finding in json.loads(said.out)["findings"]]


@pytest.mark.full
def test_backups_made_while_deploys_run_are_sound_and_come_up_elsewhere(lab: Lab, elsewhere: Lab) -> None:
    lab.post("/api/messages", to="bob", body="remember me")

    def deploys() -> list[str]:
        return [lab.deploy(f'label = "run {number}"\n')["state"] for number in range(3)]

    files: list[Path] = []
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(deploys)
        while not running.done() and len(files) < 60:
            files.append(backup(lab, name=f"{len(files)}.tar.gz"))
        assert running.result(60) == ["deployed"] * 3
    assert len(files) > 4
    lab.kill()
    lab.end_agents()
    chosen = {files[len(files) // 3], files[-1]}
    for file in files:
        restore(elsewhere, file)
        assert audit(elsewhere)[0] == 0, file
        if file in chosen:
            comes_up(elsewhere, manifest_of(file)["meta"])
        discard(elsewhere.layout.state)


def comes_up(lab: Lab, meta: str) -> None:
    """A daemon brings every agent to what meta says."""
    lab.start()
    lab.settle()
    phases = {name: row["phase"] for name, row in lab.agents().items()}
    assert phases == dict.fromkeys(("alice", "bob", "manager"), "running")
    assert lab.git(lab.layout.meta_git, "merge-base", "--is-ancestor", meta, "main") == ""
    assert lab.agent()["sha"] == lab.ref("main")
    assert lab.inbox("bob") == ["remember me"]
    for repo in (lab.layout.meta_git, lab.applied()):
        assert lab.git(repo, "fsck", "--strict", "--no-dangling") == ""
    assert audit(lab)[0] == 0
    lab.stop()
    lab.end_agents()


def manifest_of(file: Path) -> dict[str, Any]:
    with tarfile.open(file) as tar:
        member = tar.extractfile("manifest.json")
        assert member is not None
        return dict(json.load(member))


def test_a_restored_hive_runs_what_ran_and_deploys_on(lab: Lab, elsewhere: Lab) -> None:
    card = lab.deploy('label = "kept"\n')
    before, meta = lab.agent(), lab.git(lab.layout.meta_git, "rev-parse", "main")
    file = backup(lab)
    lab.kill()
    lab.end_agents()
    restore(elsewhere, file)
    assert elsewhere.git(elsewhere.layout.meta_git, "rev-parse", "main") == meta
    elsewhere.start()
    elsewhere.settle()
    after = elsewhere.agent()
    assert (after["phase"], after["sha"], after["deployed"]) == ("running", before["sha"], card["id"])
    assert elsewhere.layout.owner.read_text() == lab.layout.owner.read_text()
    assert elsewhere.deploy('label = "and on"\n')["id"] > card["id"]
    assert audit(elsewhere) == (0, [])


def test_a_backup_has_no_secret_unless_asked_and_only_its_owner_may_read_it(lab: Lab) -> None:
    (lab.layout.agent_home(ALICE) / "login").write_text("secret", encoding="utf-8")
    (lab.layout.agent_home(ALICE) / "elsewhere").symlink_to("/etc/passwd")
    plain = backup(lab, name="plain.tar")
    assert stat.S_IMODE(plain.stat().st_mode) == 0o600
    assert b"secret" not in plain.read_bytes()
    assert {name.split("/")[0] for name in names(plain)} == {"meta", "applied", "hive.db", "owner", "manifest.json"}
    said = lab.hive("backup", str(lab.directory / "all.tar"), "--agents", "--proposed")
    assert "CREDENTIALS" in said.out
    full = names(lab.directory / "all.tar")
    assert "agents/alice/home/login" in full
    assert "agents/alice/home/elsewhere" not in full
    assert "proposed/alice/config/agent.toml" in full
    assert list(lab.layout.scratch.iterdir()) == []


def test_agents_files_come_back_with_their_owners_and_modes(lab: Lab, elsewhere: Lab) -> None:
    login = lab.layout.agent_home(ALICE) / "login"
    login.write_text("secret", encoding="utf-8")
    login.chmod(0o4600)
    uid = lab.layout.agent_home(ALICE).stat().st_uid
    os.chown(login, uid, uid)
    file = backup(lab, "--agents", "--proposed")
    lab.kill()
    lab.end_agents()
    restore(elsewhere, file)
    found = (elsewhere.layout.agent_home(ALICE) / "login").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o600, uid)
    assert stat.S_IMODE(elsewhere.layout.state.stat().st_mode) == 0o711
    assert stat.S_IMODE(elsewhere.layout.database.stat().st_mode) == 0o600
    elsewhere.start()
    elsewhere.settle()
    assert elsewhere.agent()["phase"] == "running"
    assert (elsewhere.layout.agent_home(ALICE) / "login").read_text(encoding="utf-8") == "secret"


def test_a_backup_that_the_daemon_cannot_make_is_an_error_and_no_file(lab: Lab) -> None:
    lab.layout.scratch.rmdir()
    said = lab.hive("backup", str(lab.directory / "b.tar"))
    assert (said.code, "cannot write the backup" in said.err) == (1, True), said
    lab.layout.scratch.mkdir()
    said = lab.hive("backup", str(lab.directory / "nowhere" / "b.tar"))
    assert said.code != 0
    assert "nowhere" in said.err
    assert not list(lab.directory.glob("*.tar")) + list(lab.directory.glob(".*"))
    assert list(lab.layout.scratch.iterdir()) == []
    assert lab.hive("backup", str(lab.directory / "b.zip")).code == 2


def test_a_backup_without_a_daemon_is_the_same(lab: Lab) -> None:
    running = names(backup(lab, name="1.tar"))
    lab.stop()
    stopped = names(backup(lab, name="2.tar"))
    assert running <= stopped
    assert {name.split("/")[0] for name in stopped - running} <= {"meta"}  # nothing, or what the stop wrote


def test_a_restore_is_refused_where_a_daemon_or_agents_run_or_something_is(lab: Lab) -> None:
    file = backup(lab)
    said = lab.hive("restore", str(file), "--force", "--yes")
    assert (said.code, "a daemon runs" in said.err) == (4, True)
    lab.kill()
    said = lab.hive("restore", str(file))
    assert (said.code, "is not empty" in said.err) == (4, True)
    said = lab.hive("restore", str(file), "--force", "--yes")
    assert (said.code, "alice, bob, manager" in said.err) == (4, True)
    lab.end_agents()
    said = lab.hive("restore", str(file), "--force", "--yes")
    assert said.code == 0
    (aside,) = lab.directory.glob("s.before-*")
    assert (aside / "hive.db").exists()
    lab.start()
    lab.settle()
    assert lab.agent()["phase"] == "running"


@pytest.mark.parametrize("side", ["running", "meta"])
def test_an_older_meta_holds_what_runs_until_it_is_decided(lab: Lab, side: str) -> None:
    old = lab.agent()
    file = backup(lab)
    card = lab.deploy('label = "after"\n')
    new, bob = lab.agent(), lab.agent("bob")
    restore_part(lab, file, "meta")
    held = lab.agent()
    assert (held["phase"], held["pid"]) == ("disagrees", new["pid"])
    assert lab.agent("bob")["pid"] == bob["pid"]
    assert audit(lab) == (1, ["no-commit"])
    lab.do("alice", "adopt", side=side)
    after = lab.agent()
    assert after["phase"] == "running"
    expected = (new["sha"], card["id"]) if side == "running" else (old["sha"], old["deployed"])
    assert (after["sha"], after["deployed"]) == expected
    for again in ("--running", "--meta"):
        said = lab.hive("adopt", "alice", again)
        assert (said.code, said.out) == (Code.CONFLICT, ""), said
        assert "alice does not disagree with meta" in said.err
    assert audit(lab) == (0, ["disowned"])


def test_an_older_database_loses_against_the_tags(lab: Lab) -> None:
    lab.post("/api/messages", to="bob", body="in the backup")
    file = backup(lab)
    lab.post("/api/messages", to="bob", body="after it")
    card = lab.deploy('label = "after"\n')
    before = lab.agents()
    restore_part(lab, file, "database")
    assert lab.card(card["id"])["state"] == "deployed"
    assert {name: row["pid"] for name, row in lab.agents().items()} == {n: r["pid"] for n, r in before.items()}
    assert lab.inbox("bob") == ["in the backup"]
    assert lab.deploy('label = "next"\n')["id"] > card["id"]
    assert audit(lab) == (0, [])
    assert list(lab.layout.state.glob("hive.db.before-*"))


def test_an_older_applied_lets_the_agent_run_on_and_its_ids_are_never_given_again(lab: Lab) -> None:
    file = backup(lab)
    card = lab.deploy('label = "after"\n')
    before = lab.agents()
    restore_part(lab, file, "applied")
    after = lab.agents()
    assert {name: row["pid"] for name, row in after.items()} == {name: row["pid"] for name, row in before.items()}
    assert audit(lab)[0] == 1
    shutil.rmtree(lab.directory / "w")
    again = lab.deploy('label = "again"\n')
    assert again["id"] > card["id"]
    assert again["state"] == "deployed"
    assert lab.agent()["deployed"] == again["id"]


def test_an_older_applied_that_has_a_deployed_id_as_pending_comes_to_rest(lab: Lab) -> None:
    id = lab.propose('label = "pending then"\n')
    file = backup(lab)
    assert lab.approve(id)["state"] == "deployed"
    pid = lab.agent()["pid"]
    lab.kill()
    restore(lab, file, "--only", "applied")
    lab.start()
    lab.settle()
    assert lab.agent()["pid"] == pid
    assert lab.card(id)["state"] == "deployed"
    assert "meta has its commit" in lab.told(f"approved/{id}")

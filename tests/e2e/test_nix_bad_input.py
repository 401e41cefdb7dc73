"""Bad input for builder `nix`: each gets a clear error that names the thing and the remedy, and bob goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from meta.errors import NotFound
from meta.git import packs
from meta.names import AgentName, ProposalId
from tests.nix.evaluate import STUB, copy_of_the_repository
from tests.reconciler.builders.nix_host import NixStore
from tests.support.forked_hive import run_hive
from tests.support.lab import WAIT, Lab, fresh_lab
from tests.support.nix_store import nix_program

HEAD = "{ ... }: { hive.agent.file = ./agent.toml; "
GOOD = HEAD + "networking.firewall.allowedTCPPorts = [ %d ]; }\n"
BOMB = HEAD + "environment.etc.x.text = builtins.genList (x: x) 1000000000; }\n"
IMPORTS = (
    HEAD
    + """environment.etc.x.text = import (derivation {
  name = "ifd"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo 1 > $out" ];
}); }
"""
)


# a daemon that does not start
def serve(directory: Path, nix: str | None, nixpkgs: str = "path:/nixpkgs") -> subprocess.CompletedProcess[str]:
    """`hive serve --builder nix` where PATH has git and `nix`: a script, or None."""
    programs, git = directory / "bin", shutil.which("git")
    assert git is not None
    programs.mkdir()
    (programs / "git").symlink_to(git)
    if nix is not None:
        (programs / "nix").write_text(f"#!/bin/sh\n{nix}\n", encoding="utf-8")
        (programs / "nix").chmod(0o755)
    command = ["serve", "--builder", "nix", "--backend", "fake"]
    command += ["--state", str(directory / "s"), "--runtime", str(directory / "r")]
    environment = {"PATH": str(programs), "HOME": str(directory), "HIVE_NIXPKGS": nixpkgs}
    return run_hive(command, environment, WAIT)


REFUSED = {
    "missing": (None, "builder nix needs nix, which is not on PATH", "apt-get install nix-bin"),
    "too old": ("echo 'nix (Nix) 2.3.16'", "nix is nix 2.3.16; builder nix needs 2.4 or newer", "install a newer nix"),
    "silent": ("exit 0", "does not report its version, but: nothing", "which nix is first on PATH"),
    "something else": ("echo unix 3", "does not report its version, but: unix 3", "which nix is first on PATH"),
    "broken": ("echo no libnixmain.so >&2; exit 127", "no libnixmain.so", "which nix is first on PATH"),
}
"""The nix of the host: its script -> what is wrong, what to do."""


@pytest.mark.parametrize("what", REFUSED)
def test_a_nix_that_cannot_be_used_is_refused_at_the_start_with_the_remedy(tmp_path: Path, what: str) -> None:
    nix, wrong, remedy = REFUSED[what]
    said = serve(tmp_path, nix)
    assert said.returncode != 0
    assert wrong in said.stderr
    assert remedy in said.stderr
    assert "--builder plain" in said.stderr
    assert "Traceback" not in said.stderr


def test_an_empty_nixpkgs_is_refused_at_the_start_by_its_name(tmp_path: Path) -> None:
    said = serve(tmp_path, "echo 'nix (Nix) 2.8.0'", nixpkgs="")
    assert said.returncode != 0
    assert "HIVE_NIXPKGS is empty" in said.stderr
    assert "set HIVE_NIXPKGS to its flake URL" in said.stderr
    assert "Traceback" not in said.stderr


# a daemon that runs
@contextmanager
def nix_lab(letter: str, top: Path, **settings: str) -> Iterator[tuple[Lab, NixStore, Path]]:
    """A hive with alice and bob, the store that it builds in, and the copy of hive that the meta flake takes."""
    store = NixStore.make(nix_program(), top / "nix")
    hive = copy_of_the_repository(top / "hive")
    known = {"HIVE_NIXPKGS": f"path:{STUB}", "HIVE_HYPERHIVE": f"path:{hive}", "HIVE_EVALUATION_MEMORY_MIB": "1024"}
    try:
        with fresh_lab(
            letter, {**known, **store.environment, **settings}, backend="fake", builder="nix", nix=True
        ) as lab:
            lab.spawn("alice", "bob")
            yield lab, store, hive
    finally:
        store.remove()


def propose(lab: Lab, nix: str, agent: str = "alice") -> int:
    """Commit `nix` as agent.nix and propose; the id."""
    clone = lab.commit('label = "nix"\n', agent)
    (clone / "agent.nix").write_text(nix, encoding="utf-8")
    lab.git(clone, "commit", "-q", "-a", "-m", "another system")
    return int(lab.post("/api/proposals", agent=agent, source=str(clone))["id"])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, NixStore, Path]]:
    """Whatever the tests did: bob can be deployed."""
    with nix_lab("q", tmp_path_factory.mktemp("nix")) as found:
        yield found
        lab = found[0]
        assert lab.approve(propose(lab, GOOD % 9999, "bob"))["state"] == "deployed"


@pytest.fixture
def unharmed(made: tuple[Lab, NixStore, Path]) -> Iterator[Lab]:
    """Alice and bob run what they ran before."""
    lab = made[0]
    before = lab.agents()
    yield lab
    after = lab.agents()
    assert {name: row["pid"] for name, row in after.items()} == {name: row["pid"] for name, row in before.items()}
    assert {row["phase"] for row in after.values()} == {"running"}


@pytest.mark.nix
@pytest.mark.parametrize(("module", "reason"), [(IMPORTS, "import-from-derivation"), (BOMB, "more memory than it may")])
def test_a_module_that_asks_too_much_fails_with_the_reason(unharmed: Lab, module: str, reason: str) -> None:
    id = propose(unharmed, module)
    assert unharmed.approve(id)["state"] == "failed"
    assert reason in unharmed.told(f"failed/{id}")
    assert reason in unharmed.hive("diff", str(id)).out


@pytest.mark.nix
def test_a_preview_that_ended_at_a_limit_is_made_again_when_somebody_asks(unharmed: Lab) -> None:
    id = propose(unharmed, BOMB)
    unharmed.settle("alice")
    kept = unharmed.layout.preview(AgentName("alice"), ProposalId(id))
    before = kept.stat().st_mtime_ns
    assert (
        f"tried once; it is tried again in 60 s, and at once by `hive retry {id}`" in unharmed.hive("diff", str(id)).out
    )
    assert f"proposal {id} for alice is evaluated again" in unharmed.hive("retry", str(id)).out
    unharmed.settle("alice")
    assert kept.stat().st_mtime_ns > before
    assert unharmed.card(id)["state"] == "proposal"
    unharmed.post(f"/api/proposals/{id}/deny")
    unharmed.settle("alice")


@pytest.mark.nix
def test_flakes_need_not_be_enabled_on_the_host(made: tuple[Lab, NixStore, Path]) -> None:
    lab, store, hive = made
    environment = {"PATH": os.environ["PATH"], "HOME": str(store.top / "home"), **store.environment}
    plain = subprocess.run(
        [store.program, "flake", "metadata", f"path:{hive}"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=WAIT,
    )
    assert "experimental" in plain.stderr, "the host of this test has flakes"
    assert lab.approve(propose(lab, GOOD % 8001, "bob"))["state"] == "deployed"


def loosen(lab: Lab, id: int) -> None:
    """Make a file of each object of an id's pack, so that one can be deleted."""
    pack = packs.path_of(lab.applied() / ".git" if (lab.applied() / ".git").is_dir() else lab.applied(), ProposalId(id))
    aside = lab.directory / "aside.pack"
    pack.rename(aside)
    pack.with_suffix(".idx").unlink()
    with aside.open("rb") as source:
        command = ["git", "-C", str(lab.applied()), "unpack-objects", "-q"]
        subprocess.run(command, stdin=source, check=True, timeout=WAIT)


@pytest.mark.nix
def test_a_proposal_whose_commit_was_deleted_cannot_be_approved_and_stays(unharmed: Lab) -> None:
    id = propose(unharmed, GOOD % 8016)
    unharmed.settle("alice")
    sha = unharmed.ref(f"proposal/{id}")
    loosen(unharmed, id)
    with deleted(unharmed.applied() / "objects" / sha[:2] / sha[2:]), pytest.raises(NotFound) as refused:
        unharmed.approve(id)
    assert sha in refused.value.summary
    assert str(unharmed.applied()) in refused.value.summary
    assert "backup" in refused.value.hint
    assert unharmed.card(id)["state"] == "proposal"


@pytest.mark.nix
def test_what_was_deleted_from_an_agents_applied_repo_fails_by_its_name(unharmed: Lab) -> None:
    id = propose(unharmed, GOOD % 8014)
    unharmed.settle("alice")
    sha = unharmed.ref(f"proposal/{id}")
    loosen(unharmed, id)
    gone = unharmed.git(unharmed.applied(), "rev-parse", f"{sha}:agent.nix")
    with deleted(unharmed.applied() / "objects" / gone[:2] / gone[2:]):
        assert unharmed.approve(id)["state"] == "failed"
        note = unharmed.card(id)["note"]
    assert gone in note
    assert str(unharmed.applied()) in note
    assert "doctor" in note or "backup" in note


@pytest.mark.nix
def test_an_agents_deleted_repo_holds_up_nobody_else(made: tuple[Lab, NixStore, Path]) -> None:
    lab, *_ = made
    with deleted(lab.applied("alice")):
        assert lab.approve(propose(lab, GOOD % 8003, "bob"))["state"] == "deployed"
    lab.post("/api/reconcile", agent="alice")
    lab.settle()
    assert lab.agent("alice")["phase"] == "running"


@pytest.mark.nix
def test_hives_own_flake_deleted_from_disk_is_taken_from_the_store_also_after_a_collection(
    made: tuple[Lab, NixStore, Path],
) -> None:
    lab, store, hive = made
    with deleted(hive):
        store.run("nix-store", "--gc")
        assert lab.approve(propose(lab, GOOD % 8004))["state"] == "deployed"


@pytest.mark.nix
def test_hives_own_flake_that_is_nowhere_any_more_fails_by_its_name(made: tuple[Lab, NixStore, Path]) -> None:
    lab, store, hive = made
    before = lab.agents()
    with deleted(hive):
        for link in lab.layout.nix_inputs.iterdir():
            link.unlink()
        store.run("nix-store", "--gc")
        id = propose(lab, GOOD % 8005)
        assert lab.approve(id)["state"] == "failed"
        assert f"put {hive} back, or set HIVE_NIXPKGS and HIVE_HYPERHIVE" in lab.card(id)["note"]
    assert lab.agent("alice")["pid"] == before["alice"]["pid"]
    assert lab.approve(propose(lab, GOOD % 8005))["state"] == "deployed"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[Lab, Path]]:
    """A hive whose nix store is on a small file system of its own, and the file that fills it."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m,mode=755", "hive-test", disk], check=True, timeout=10)
    try:
        with nix_lab("f", disk, HIVE_RETRY_BACKOFF="0.5") as (lab, _, _):
            yield lab, disk / "filler"
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True, timeout=10)


@pytest.mark.nix
def test_a_full_store_delays_a_deploy_and_says_so(small: tuple[Lab, Path]) -> None:
    lab, filler = small
    id = propose(lab, GOOD % 8006)
    lab.settle("alice")
    before = lab.agents()
    fill(filler)
    lab.post(f"/api/proposals/{id}/approve")
    lab.until(lambda: "alice: nix flake lock" in lab.hive("status").out)
    said = lab.hive("status").out
    assert "free space on the disk of" in said
    assert lab.card(id)["state"] in ("approved", "building")
    assert lab.agent("bob")["phase"] == "running"
    filler.unlink()
    lab.settle("alice")
    assert lab.card(id)["state"] == "deployed"
    assert lab.agent("bob")["pid"] == before["bob"]["pid"]


def fill(filler: Path) -> None:
    """Until not a byte is left."""
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            while True:
                try:
                    file.write(b"x" * size)
                except OSError:
                    break


@contextmanager
def deleted(path: Path) -> Iterator[None]:
    """Gone for a while."""
    aside = path.with_name(f"{path.name}.gone")
    path.rename(aside)
    try:
        yield
    finally:
        aside.rename(path)

"""Builder `nix` over a store of its own: what the contract of builders asks of a host, with the real nix.

Nothing is left behind: the store lies in a temporary directory, and so does every gc root.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from meta.applied.repo import Applied
from meta.config import Config
from meta.desired.flake import render
from meta.desired.flake_lock import LOCK_FILE
from meta.desired.reader import candidate_ref
from meta.git.objects import commit, snapshot
from meta.git.repo import GitRepo
from meta.git.transaction import ABSENT, RefChange
from meta.layout import Layout
from meta.model import AgentEntry, ContainerSettings, Desired, Generation, Pin, Role
from meta.names import AgentName, ProposalId, Sha
from meta.nix import NIX_CONFIG, Nix
from meta.nix.store import locate
from meta.process import sandbox
from reconciler.builders.base import BuildRequest
from reconciler.builders.nix import NixBuilder, OnLog

STUB = Path(__file__).parents[2] / "nix" / "stub-nixpkgs"
TOML = b'runtime = "script"\n'
_DEADLINE = 30


@dataclass(frozen=True, slots=True)
class NixStore:
    """A store that is written directly, below `top`. `program` is the nix that does it."""

    program: Path
    top: Path

    @classmethod
    def make(cls, program: Path, top: Path) -> NixStore:
        """An empty one."""
        for name in ("store", "var", "log", "etc", "home"):
            (top / name).mkdir(parents=True)
        (top / "etc" / "nix.conf").write_text("sandbox = false\nbuild-users-group =\nsubstituters =\n")
        return cls(program, top)

    @classmethod
    def or_skip(cls, top: Path) -> NixStore:
        """An empty one for a daemon, which evaluates in a sandbox. Skip the test if this machine lacks a program."""
        program = shutil.which("nix")
        if program is None:
            pytest.skip("nix is not installed (apt-get install nix-bin)")
        if sandbox.available() is None:
            pytest.skip("bubblewrap is not installed (apt-get install bubblewrap)")
        return cls.make(Path(program), top)

    @property
    def environment(self) -> dict[str, str]:
        """What leads nix here."""
        names = {"STORE_DIR": "store", "STATE_DIR": "var", "LOCALSTATE_DIR": "var", "LOG_DIR": "log", "CONF_DIR": "etc"}
        return {f"NIX_{name}": str(self.top / folder) for name, folder in names.items()}

    def nix(self) -> Nix:
        """hive's face of it."""
        return Nix(self.program, None, locate(self.environment))

    def run(self, program: str, *words: str) -> str:
        """A nix command as a person would run it."""
        env = {"PATH": os.environ["PATH"], "HOME": str(self.top / "home"), "NIX_CONFIG": NIX_CONFIG, **self.environment}
        done = subprocess.run(
            [self.program.with_name(program), *words], env=env, capture_output=True, text=True, timeout=_DEADLINE
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def remove(self) -> None:
        """Leave nothing; a store is read-only all through."""
        for path, _, _ in os.walk(self.top):
            Path(path).chmod(0o755)
        shutil.rmtree(self.top)


class NixHost:
    """Builder `nix` over real applied repos, a real meta repo and the stub of nixpkgs."""

    def __init__(self, tmp_path: Path, store: NixStore) -> None:
        self.store = store
        self.layout = Layout(tmp_path / "state", tmp_path / "run")
        self.config = Config.model_validate({"keep_generations": 2})
        self.settings = ContainerSettings(Role.AGENT, 600_000)
        self.nixpkgs = f"path:{STUB}"
        self.entries: dict[AgentName, AgentEntry] = {}
        self._count = 0
        self._host = secrets.token_hex(8).encode()  # hosts share a store: what one roots, another must not find
        self.layout.meta_git.mkdir(parents=True)
        self.git("init", "--quiet", "--bare", "--initial-branch=main")
        self.meta = GitRepo(self.layout.meta_git)
        self.builder = self.make("1.0")

    def make(
        self,
        revision: str,
        *,
        nix: Nix | None = None,
        on_log: OnLog | None = None,
        seconds: float = 30.0,
    ) -> NixBuilder:
        """A new object, as a daemon of that revision makes it."""
        limits = {"evaluation_deadline": seconds, "evaluation_memory_mib": 2048}
        return NixBuilder(
            self.layout,
            self.config.model_copy(update=limits),
            nix or self.store.nix(),
            self.meta,
            lambda agent: Applied(self.layout, agent),
            revision,
            on_log=on_log,
        )

    async def commit(self, agent: AgentName, files: Mapping[str, bytes], modes: Mapping[str, int] | None = None) -> Sha:
        """A commit with these files in the agent's applied repo."""
        applied = Applied(self.layout, agent)
        await applied.create({"README": b"seed"}, 1)
        tree, objects = snapshot({**files, "host": self._host}, modes or {})
        made = commit(tree, (), "test", 2)
        self._count += 1
        await applied.repo.transaction(
            [RefChange(f"refs/hive/test-{self._count}", new=made.id, old=ABSENT)], [*objects, made]
        )
        return made.id

    def request(self, agent: AgentName, id: int, sha: Sha) -> BuildRequest:
        """Tag the commit, make the meta repo's candidate for it, ask to build that."""
        number = ProposalId(id)
        self.git("update-ref", f"refs/tags/proposal/{id}", sha, git_dir=self.layout.applied_git(agent))
        self.entries[agent] = AgentEntry(Pin(number, sha), self.settings)
        flake = render(Desired(Sha("0" * 40), self.entries), self.layout.applied_git, self.nixpkgs)
        ref = candidate_ref(agent, number)
        made = self.candidate(ref, flake)
        return BuildRequest(agent, number, sha, self.settings, made)

    def candidate(self, ref: str, flake: bytes) -> Sha:
        """A locked flake as a commit of the meta repo."""
        self._count += 1
        folder = self.layout.state / f"lock-{self._count}"
        folder.mkdir()
        (folder / "flake.nix").write_bytes(flake)
        self.store.run("nix", "flake", "lock", f"path:{folder}")
        names = {name: self.git("hash-object", "-w", str(folder / name)) for name in ("flake.nix", LOCK_FILE)}
        listing = "".join(f"100644 blob {id}\t{name}\n" for name, id in sorted(names.items()))
        tree = self.git("mktree", stdin=listing)
        made = self.git("commit-tree", tree, "-m", "candidate")
        self.git("update-ref", ref, made)
        return Sha(made)

    def git(self, *words: str, git_dir: Path | None = None, stdin: str = "") -> str:
        """git in the meta repo, or another."""
        parts = {"NAME": "h", "EMAIL": "h@example.org", "DATE": "@1 +0000"}
        who = {f"GIT_{role}_{part}": text for role in ("AUTHOR", "COMMITTER") for part, text in parts.items()}
        done = subprocess.run(
            ["git", *words],
            env={"PATH": os.environ["PATH"], "GIT_DIR": str(git_dir or self.layout.meta_git), **who},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_DEADLINE,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def good(self, note: str = "") -> dict[str, bytes]:
        """Files that build; another note makes another commit."""
        # a system does not depend on its commit: with only the note, hosts would build the same one
        module = b"""{ ... }: {
          environment.etc.note.text = builtins.readFile ./note;
          environment.variables.HOST = builtins.readFile ./host;
        }
        """
        return {"agent.toml": TOML, "note": note.encode(), "agent.nix": module}

    def with_module(self, text: str) -> dict[str, bytes]:
        """Files with this agent.nix."""
        return {"agent.toml": TOML, "agent.nix": text.encode()}

    def damage(self, generation: Generation) -> None:
        """Somebody deletes the generation by hand."""
        generation.system.chmod(0o755)
        shutil.rmtree(generation.system)

    def tamper(self, generation: Generation) -> None:
        """Somebody edits the generation by hand."""
        note = generation.system / "system.json"
        note.chmod(0o644)
        note.write_text("edited")

    def intact(self, generation: Generation, note: str) -> bool:
        """Whether it holds what `good(note)` says, also after the host collected its garbage."""
        self.store.run("nix-store", "--gc")
        path = generation.system / "system.json"
        return path.exists() and json.loads(path.read_text())["etc"] == {"note": note}

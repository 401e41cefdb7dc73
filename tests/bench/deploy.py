"""`approve` to `deployed/` with a build that costs nothing, beside a script with the bare git and process work.

The script tags, commits and moves refs with the same durability, stops the old process and starts the new one, and
waits until that one has said hello; the health gate's holding time is 0 in both.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from meta.nix import NIX_CONFIG
from tests.bench.figure import Figure, figure
from tests.support.lab import TINY, Lab, fresh_lab

RUNS = 9
WHY = (
    "Of what is more than the floor, about a third is the start (a supervisor that outlives the daemon, cgroups, the "
    "probe of the health gate), the rest what is made durable between the steps: two more tag transitions, the "
    "generation, the cards and events, each on disk before the next step."
)


def measure() -> Iterator[Figure]:
    """On a host without nix, and on one with it: there both also lock the meta flake."""
    yield _figure("approve to deployed", nix=None)
    program = shutil.which("nix")
    if program is not None:
        yield _figure("approve to deployed, with nix flake lock", nix=program)


def _figure(name: str, nix: str | None) -> Figure:
    """Alternating."""
    timed: dict[str, list[float]] = {"hive": [], "bare": []}
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(fresh_lab("b", {"HIVE_HEALTH_STABLE": "0"}, nix=nix is not None))
        lab.spawn("alice")
        bare = Bare(lab.directory / "b", nix)
        stack.callback(bare.end)
        for number in range(RUNS):
            id = lab.propose(f'label = "{number}"\n')
            timed["hive"].append(deployed(lab, id))
            timed["bare"].append(bare.deploy(number))
    return figure(name, "ms", timed["hive"], floor=timed["bare"], ratio_at_most=2.0, why=WHY)


def deployed(lab: Lab, id: int) -> float:
    """Milliseconds from the approval to the tag."""
    with lab.client().events() as stream:
        began = time.perf_counter()
        lab.post(f"/api/proposals/{id}/approve")
        while True:
            event = stream.next(30)
            assert event is not None
            if event.kind == "deploy_succeeded":
                return (time.perf_counter() - began) * 1000


class Bare:
    """The floor: git and processes, nothing else."""

    def __init__(self, directory: Path, nix: str | None) -> None:
        self.directory, self.nix = directory, nix
        self.applied, self.meta = directory / "applied", directory / "meta"
        (directory / "config").mkdir(parents=True)
        (directory / "config" / "agent.toml").write_text("", encoding="utf-8")
        for repo in (self.applied, self.meta):
            git(directory, "init", "-q", "-b", "main", str(repo))
            git(repo, "config", "core.fsync", "all")
            git(repo, "commit", "-q", "--allow-empty", "-m", "seed")
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(directory / "harness.sock"))
        self.socket.listen()
        self.socket.settimeout(20)
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Start the same tiny harness in the same sandbox, wait for its hello."""
        environment = {"HIVE_CONFIG": str(self.directory / "config"), "HIVE_RUN": str(self.directory)}
        environment |= {"HIVE_GENERATION": "g", "HIVE_BOOT_NONCE": "n"}
        box = ["bwrap", "--ro-bind", "/", "/", "--bind", str(self.directory), str(self.directory), "--proc", "/proc"]
        box += ["--dev", "/dev", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
        box += ["--die-with-parent", "--new-session"]
        process = subprocess.Popen(
            [*box, sys.executable, "-I", "-S", "-c", TINY], env={**os.environ, **environment}, stdout=subprocess.DEVNULL
        )
        connection, _ = self.socket.accept()
        connection.settimeout(20)
        connection.makefile("rb").readline()
        self.connection = connection
        return process

    def deploy(self, number: int) -> float:
        """Milliseconds."""
        git(self.applied, "commit", "-q", "--allow-empty", "-m", str(number))
        began = time.perf_counter()
        for state in ("approved", "building"):
            git(self.applied, "tag", "-a", "-m", state, f"{state}/{number}")
        (self.meta / "agents.json").write_text(str(number), encoding="utf-8")
        git(self.meta, "add", "agents.json")
        tree = git(self.meta, "write-tree")
        candidate = git(self.meta, "commit-tree", tree, "-p", "HEAD", "-m", "candidate")
        git(self.meta, "update-ref", f"refs/hive/candidate/{number}", candidate)
        export = self.directory / f"g{number}"
        export.mkdir()
        if self.nix is not None:
            self.lock(number)
        git(self.applied, "--work-tree", str(export), "checkout-index", "-a")
        self.end()
        self.process = self.start()
        git(
            self.meta,
            "update-ref",
            "refs/heads/main",
            git(self.meta, "commit-tree", tree, "-p", "HEAD", "-m", "deploy"),
        )
        git(self.applied, "tag", "-a", "-m", "deployed", f"deployed/{number}")
        git(self.meta, "update-ref", "-d", f"refs/hive/candidate/{number}")
        return (time.perf_counter() - began) * 1000

    def lock(self, number: int) -> None:
        """What nix does for a new pin: one input of flake.lock moves."""
        assert self.nix is not None
        flake = self.directory / "flake"
        flake.mkdir(exist_ok=True)
        sha = git(self.applied, "rev-parse", "HEAD")
        url = f"git+file://{self.applied}?ref=refs/tags/building/{number}&rev={sha}"
        text = f'{{ inputs.a = {{ url = "{url}"; flake = false; }}; outputs = _: {{ }}; }}'
        (flake / "flake.nix").write_text(text, encoding="utf-8")
        env = {**os.environ, "NIX_CONFIG": NIX_CONFIG, "HOME": str(self.directory)}
        subprocess.run(
            [self.nix, "flake", "lock", f"path:{flake}"], env=env, capture_output=True, timeout=60, check=True
        )

    def end(self) -> None:
        """Stop the process and wait."""
        self.process.terminate()
        self.process.wait(10)
        self.connection.close()


def git(repo: Path, *words: str) -> str:
    """A bare git command."""
    identity = ["-c", "user.name=b", "-c", "user.email=b@b"]
    done = subprocess.run(
        ["git", *identity, "-C", str(repo), *words], capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout.strip()

"""Evaluates everything that hive has in Nix against a nixpkgs: `nix/tests/real-tree.sh PATH`, before each release.

PATH is a checkout of nixpkgs, or a store path. Nothing is built. The tests run it against their stand-in for nixpkgs,
which shows that the script works; what a real nixpkgs says is known only from a run against one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from meta.agent_toml import seed
from meta.desired.flake import render
from meta.desired.summary import SUMMARISE
from meta.model import AgentEntry, ContainerSettings, Desired, Pin, Role
from meta.names import MANAGER, AgentName, ProposalId, Sha
from meta.nix.summary import parse
from tests.nix.evaluate import HERE, ROOT, copy_of_the_repository

ALICE = AgentName("alice")
AGENTS = {ALICE: Role.AGENT, MANAGER: Role.MANAGER}
SETTINGS = "\n".join(
    ("experimental-features = nix-command flakes", "flake-registry =", "warn-dirty = false", "substituters =")
)
"""What every nix gets beyond the settings of this machine. Import from derivation is off, as in hive."""

DEADLINE = 900.0
PLAIN = re.compile(r"[A-Za-z0-9/._+=-]+")
"""Paths that stand in a flake's URL as they are. Versions of nix differ in what they make of an escaped one."""


class EvaluationFailed(Exception):
    """The last lines of nix."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A nixpkgs, hive's flake and a flake that uses both, below a folder that goes away."""

    nixpkgs: str
    folder: Path

    def nix(self, *words: str) -> str:
        """Return the stdout of nix. Raise EvaluationFailed."""
        settings = "\n".join((os.environ.get("NIX_CONFIG", ""), SETTINGS, "allow-import-from-derivation = false"))
        done = subprocess.run(
            ["nix", *words],
            env={**os.environ, "NIX_CONFIG": settings},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        if done.returncode:
            raise EvaluationFailed("\n".join(done.stderr.strip().splitlines()[-25:]))
        return done.stdout

    def value(self, flake: Path, attribute: str, *words: str) -> str:
        """Return the JSON of an attribute of a flake."""
        return self.nix("eval", "--json", f"path:{flake}#{attribute}", *words)

    @property
    def user(self) -> Path:
        """The flake that uses hive as a host's does."""
        return self.folder / "user"

    @property
    def meta(self) -> Path:
        """The flake that hive renders."""
        return self.folder / "meta"


def prepare(tree: Tree) -> None:
    """Write hive's flake, the flake that uses it, the agents' repos and the flake that hive renders."""
    hive = copy_of_the_repository(tree.folder / "hive")
    tree.user.mkdir()
    shutil.copy2(HERE / "real-tree.nix", tree.user / "view.nix")
    inputs = f'nixpkgs.url = "{tree.nixpkgs}"; hive.url = "path:{hive}"; hive.inputs.nixpkgs.follows = "nixpkgs";'
    outputs = "inputs: { view = import ./view.nix { inherit (inputs) hive nixpkgs; }; }"
    (tree.user / "flake.nix").write_text(f"{{ inputs = {{ {inputs} }}; outputs = {outputs}; }}\n", "utf-8")
    entries = {}
    for number, (name, role) in enumerate(AGENTS.items()):
        commit = _repository(tree.folder / name, seed.files(name, role), f"refs/tags/proposal/{number}")
        entries[name] = AgentEntry(Pin(ProposalId(number), commit), ContainerSettings(role, 65_536 * (8 + number)))
    tree.meta.mkdir()
    desired = Desired(Sha("0" * 40), entries)
    text = render(desired, lambda name: tree.folder / name / ".git", tree.nixpkgs, f"path:{hive}")
    (tree.meta / "flake.nix").write_bytes(text)


def _repository(path: Path, files: dict[str, bytes], ref: str) -> Sha:
    path.mkdir()
    for name, content in files.items():
        (path / name).write_bytes(content)
    who = ("-c", "user.name=hive", "-c", "user.email=hive@localhost")
    for words in (("init", "-q"), ("add", "-A"), (*who, "commit", "-q", "-m", "seed"), ("update-ref", ref, "HEAD")):
        subprocess.run(["git", "-C", path, *words], check=True, stdin=subprocess.DEVNULL, timeout=60)
    head = subprocess.run(
        ["git", "-C", path, "rev-parse", "HEAD"], check=True, capture_output=True, text=True, timeout=60
    )
    return Sha(head.stdout.strip())


def release(tree: Tree) -> str:
    """Return the release of this nixpkgs."""
    return str(json.loads(tree.value(tree.user, "view.release")))


def host(tree: Tree) -> str:
    """Return the derivation of a host with services.hive: it evaluates, and no assertion fails."""
    found = json.loads(tree.value(tree.user, "view.host"))
    if found["failed"]:
        raise EvaluationFailed("\n".join(found["failed"]))
    return f"{Path(found['system']).name}, {found['units']} units of hive"


def refusals(tree: Tree) -> str:
    """Return how many wrong configurations are refused. Raise EvaluationFailed for one that is accepted."""
    found = json.loads(tree.value(tree.user, "view.refused"))
    accepted = [name for name, messages in found.items() if not messages]
    if accepted:
        raise EvaluationFailed(f"accepted, and should not be: {', '.join(accepted)}")
    return f"{len(found)} of {len(found)}"


def packages(tree: Tree) -> str:
    """Return the derivations of hive's own packages."""
    return ", ".join(Path(path).name for path in json.loads(tree.value(tree.user, "view.packages")))


def templates(tree: Tree) -> str:
    """Return the number of packages of each template's system, beside that of a NixOS container without it."""
    found = json.loads(tree.value(tree.user, "view.templates"))
    plain = found.pop("plain")
    return ", ".join(f"{name} has {count} packages" for name, count in found.items()) + f"; without templates {plain}"


def lock(tree: Tree) -> str:
    """Lock the flake that hive renders."""
    tree.nix("flake", "lock", f"path:{tree.meta}")
    return "locked"


def agents(tree: Tree) -> str:
    """Return the derivation of each agent's system in the rendered flake."""
    attributes = [f'nixosConfigurations."{name}".config.system.build.toplevel.drvPath' for name in AGENTS]
    return ", ".join(Path(json.loads(tree.value(tree.meta, attribute))).name for attribute in attributes)


def summary(tree: Tree) -> str:
    """Return the size of alice's summary, made by the function that hive's approvals are bound to."""
    text = tree.value(tree.meta, f'nixosConfigurations."{ALICE}".config', "--apply", SUMMARISE)
    found = parse(text.encode())
    for part in ("units", "packages", "users"):
        if not getattr(found, part):
            raise EvaluationFailed(f"the summary has no {part}, so an approval would not show a change of one")
    return f"{len(text)} bytes, {len(found.packages)} packages, {len(found.units)} units, {len(found.users)} users"


STEPS: dict[str, Callable[[Tree], str]] = {
    "release": release,
    "host": host,
    "refusals": refusals,
    "packages": packages,
    "templates": templates,
    "lock": lock,
    "agents": agents,
    "summary": summary,
}


def address(path: Path) -> str:
    """Return the flake URL of a nixpkgs: the tracked files of a checkout, a folder without git as it is."""
    return f"git+file://{path}?shallow=1" if (path / ".git").exists() else f"path:{path}"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(words: Sequence[str]) -> int:
    """Return 0 if every step succeeds. Later steps run after a failed one, except those of the rendered flake."""
    parser = argparse.ArgumentParser(prog="nix/tests/real-tree.sh", description=__doc__)
    parser.add_argument("path", type=Path, help="a checkout of nixpkgs, or a store path of one")
    path = parser.parse_args(words).path.resolve()
    if not (path / "flake.nix").is_file():
        _say(f"{path} is no nixpkgs: it has no flake.nix")
        return 2
    if shutil.which("nix") is None:
        _say("there is no `nix` on PATH: install it, or run this where it is")
        return 2
    if not PLAIN.fullmatch(str(path)):
        _say(f"{path} has characters that nix does not take in a path of a flake: move it to a plain path")
        return 2
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(address(path), Path(folder))
        prepare(tree)
        for name, step in STEPS.items():
            began = time.monotonic()
            try:
                told = step(tree)
            except (EvaluationFailed, subprocess.TimeoutExpired) as error:
                failed.append(name)
                told = f"FAILED\n{error}"
            _say(f"{name:10} {time.monotonic() - began:6.1f} s  {told}")
    _say(f"failed: {', '.join(failed)}" if failed else f"all of {ROOT.name} evaluates against {path}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

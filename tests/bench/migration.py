"""The migration of fifty agents of an older hive, beside the bare commands of git that it needs, in turn.

The floor makes a new repo, fetches every ref, writes the module-only commit and the refs, and sets the remote, for one
agent after the other: no sandbox, no comparison, no meta. As root both give files to uids, the floor by `chown -R`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from meta.agent_toml import seed
from meta.applied.states import parse
from meta.config import Config
from meta.desired.repo import MetaRepo
from meta.layout import FOLDERS, Layout
from meta.model import Role
from meta.names import MANAGER, AgentName
from reconciler.upkeep.migration.acts import Acts
from reconciler.upkeep.migration.look import Containers
from reconciler.upkeep.migration.migrate import migrate
from tests.bench.figure import Figure, figure
from tests.support import older_layout

AGENTS = 50
RUNS = 3
GIVES = os.geteuid() == 0
UID = 1_000_000
WHY = "A sandbox for each repo: what its owner may have configured is not run."


def measure() -> Iterator[Figure]:
    """Migrate copies of one state directory."""
    with tempfile.TemporaryDirectory(prefix="hive-bench-") as name:
        folder = Path(name)
        original = Layout(folder / "original", folder / "run")
        for kind in FOLDERS:
            (original.state / kind).mkdir(parents=True)
        agents = [MANAGER, *(AgentName(f"a{number}") for number in range(1, AGENTS))]
        for agent in agents:
            older_layout.make(original, agent)
            older_layout.move_to_older_places(original, agent)
        hive: list[float] = []
        bare: list[float] = []
        for run in range(RUNS):
            for times, act in ((hive, _migrate), (bare, partial(_by_hand, agents=agents))):
                copy = Layout(folder / f"{run}-{len(hive)}-{len(bare)}", folder / "run")
                shutil.copytree(original.state, copy.state, symlinks=True)
                os.sync()
                begin = time.monotonic()
                act(copy)
                times.append(time.monotonic() - begin)
                shutil.rmtree(copy.state)
    yield figure(f"migration of {AGENTS} agents", "s", hive, floor=bare, ratio_at_most=2, why=WHY)


def _migrate(layout: Layout) -> None:
    layout.scratch.mkdir()
    config = Config.model_validate({})
    acts = Acts(layout, config, MetaRepo(layout, config=config), None, 1000, lambda agent, settings: None)
    asyncio.run(migrate(layout, lambda: acts, Containers, gives=GIVES))
    if acts.left:
        raise RuntimeError(f"left: {acts.left}")


def _by_hand(layout: Layout, agents: list[AgentName]) -> None:
    for agent in agents:
        _convert(layout, agent)
        tree = layout.proposed_config(agent)
        tree.parent.mkdir()
        (layout.agent(agent) / "config").rename(tree)
        git(tree, "config", "remote.applied.url", f"/applied/{agent}/.git")
        for part in ("heads/*:refs/remotes/applied/*", "tags/*:refs/tags/*", "tags/*:refs/remotes/applied/refs/tags/*"):
            git(tree, "config", "--add", "remote.applied.fetch", f"+refs/{part}")
        if GIVES:
            for folder in (layout.agent(agent), tree):
                subprocess.run(["chown", "-R", "-h", f"{UID}:{UID}", str(folder)], check=True)


def _convert(layout: Layout, agent: AgentName) -> None:
    older, new = layout.applied(agent) / ".git", layout.state / f"{agent}.git"
    git(layout.state, "init", "-q", "--bare", "--template=", str(new))
    for key, value in (("core.fsync", "all"), ("core.fsyncMethod", "fsync")):
        git(new, "config", key, value)
    git(new, "-c", "fetch.unpackLimit=1", "fetch", "-q", "--no-tags", str(older), "+refs/*:refs/hive/older/*")
    main = git(new, "rev-parse", "refs/hive/older/heads/main")
    lines = [git(new, "ls-tree", main, "agent.nix")]
    for name, data in seed.files(agent, Role.AGENT).items():
        if name != "agent.nix":
            blob = git(new, "hash-object", "-w", "--stdin", stdin=data.decode())
            lines.append(f"100644 blob {blob}\t{name}")
    tree = git(new, "mktree", stdin="\n".join(lines) + "\n")
    commit = git(new, "commit-tree", tree, "-p", main, "-m", "migrate")
    changes = [f"create refs/heads/main {commit}", f"create refs/tags/deployed/0 {commit}"]
    for line in git(new, "for-each-ref", "--format=%(objectname) %(refname)", "refs/hive/older/tags").splitlines():
        value, _, ref = line.partition(" ")
        parsed = parse(ref.removeprefix("refs/hive/older/tags/"))
        if parsed is not None and parsed[1] > 0:
            changes.append(f"create {ref.replace('hive/older/', '')} {value}")
    git(new, "update-ref", "--stdin", stdin="\n".join(changes) + "\n")
    kept = layout.applied(agent).with_name(f"{agent}-older")
    layout.applied(agent).rename(kept)
    layout.applied(agent).mkdir()
    kept.rename(layout.applied(agent) / "older")
    new.rename(layout.applied(agent) / ".git")


def git(folder: Path, *words: str, stdin: str = "") -> str:
    """Run git as a script would."""
    who = ("-c", "user.name=hive", "-c", "user.email=hive@localhost")
    return subprocess.run(
        ["git", *who, *words], cwd=folder, input=stdin, check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()

"""What the manager sees in its container: its commands run there, with the real repos."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from meta.agent_toml import seed
from meta.applied.pinning import Pinning
from meta.applied.repo import Applied
from meta.applied.source import Source
from meta.config import Config
from meta.desired.repo import MetaRepo
from meta.layout import Layout
from meta.model import ContainerSettings, DeployKind, Role, TagState
from meta.names import MANAGER, AgentName, GenerationId, ProposalId
from meta.process.run import run
from meta.proposed import work_tree
from reconciler.backends.local.enclosure import Subject, enclose, probe
from reconciler.plan.observed import Launch

ALICE = AgentName("alice")
UID = 700_000


@pytest.mark.bwrap
async def test_git_works_on_applied_and_meta_and_on_the_proposed_work_trees_from_inside_the_manager() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: the repos belong to another uid only then")
    import tempfile

    with tempfile.TemporaryDirectory(prefix="hm") as name:
        top = Path(name)
        top.chmod(0o755)
        layout = Layout(top / "s", top / "r")
        for path in (layout.state / "applied", layout.state / "proposed", layout.scratch, top / "folder", top / "tree"):
            path.mkdir(parents=True, mode=0o755)
        await MetaRepo(layout, config=Config()).create(1)
        applied = Applied(layout, ALICE)
        commit = await applied.create(seed.files(ALICE, Role.AGENT), 1)
        id = ProposalId(0)
        await applied.propose(
            id, Pinning(DeployKind.SPAWN, commit, None, commit_ref="", source=Source.parse("seed"), by="t"), at=1
        )
        for state in (TagState.APPROVED, TagState.BUILDING):
            await applied.transition(id, state, by="t", at=1)
        await applied.deployed(id, by="t", at=1, meta_commit=commit, unproven=False, seed=True)
        await work_tree.create(layout, ALICE, layout.applied_git(ALICE), UID)
        settings = ContainerSettings(Role.MANAGER, UID)
        for own in (layout.agent_state, layout.agent_home, layout.pods, layout.sockets, layout.egress):
            own(MANAGER).mkdir(parents=True)
        launch = Launch(GenerationId("0" * 20), settings.fingerprint(), "n", 1.0)
        subject = Subject(MANAGER, settings, launch, top / "folder", top / "tree", "script")
        host = await probe(Config())

        async def inside(*words: str) -> str:
            shut = enclose(layout, Config(), host, subject, words)
            return (await run(shut.argv, deadline=20, env=shut.env)).text

        tree = "/agents/alice/config"
        await inside("git", "-C", tree, "fetch", "-q", "applied")
        assert commit in await inside("git", "-C", tree, "show", "applied/main")
        assert "seed" in await inside("git", "-C", tree, "show", "deployed/0")
        assert commit in await inside("git", "-C", "/agents/alice/applied.git", "log")
        await inside("git", "-C", tree, "rebase", "-q", "applied/main")
        assert "begin" in await inside("git", "-C", "/meta", "log", "--oneline")
        assert "agents" in await inside("cat", "/meta/agents.json")

"""What an agent.toml wants to reach: refused when it is proposed, and again before it is built."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from meta.applied.source import Source
from meta.errors import Refused
from meta.names import AgentName
from meta.process.run import run
from reconciler.daemon.daemon import Daemon
from reconciler.network.check import check_reach_of_text
from reconciler.network.operator import OperatorSettings

ALICE = AgentName("alice")
WANTS = 'network.allow = ["@python"]\n'


def allow_python(daemon: Daemon) -> Path:
    file = daemon.world.layout.network_file
    file.write_text('[groups]\npython = ["pypi.org"]\n')
    return file


async def test_an_edit_with_a_group_that_the_operator_lacks_is_refused_and_nothing_is_pinned(daemon: Daemon) -> None:
    with pytest.raises(Refused, match="'@python' is no group of this host") as error:
        await daemon.service.settings.propose(ALICE, "test", WANTS)
    assert "network.toml" in error.value.hint
    assert not await daemon.service.cards.pending()


async def test_a_commit_with_such_a_group_is_refused_when_it_is_fetched(daemon: Daemon, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    await git("clone", "-q", str(daemon.world.layout.applied_git(ALICE)), str(clone))
    (clone / "agent.toml").write_text(WANTS)
    await git("-C", str(clone), "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "wants python")
    with pytest.raises(Refused, match="'@python' is no group of this host"):
        await daemon.service.proposals.propose(ALICE, "test", source=clone, origin=Source("work-tree"))
    allow_python(daemon)
    deploy = await daemon.service.proposals.propose(ALICE, "test", source=clone, origin=Source("work-tree"))
    assert deploy.description == "wants python"


async def git(*words: str) -> None:
    await run(["git", *words], deadline=30)


async def test_a_group_that_went_after_the_approval_fails_the_deploy_with_the_reason(daemon: Daemon) -> None:
    file = allow_python(daemon)
    deploy = await daemon.service.settings.propose(ALICE, "test", WANTS)
    diff = await daemon.service.diffs.proposal(deploy.id)
    assert diff.complaint is None
    assert diff.words[0] == "MORE RIGHTS: it may newly reach:\n  + @python: pypi.org (ports 80 and 443)"
    file.write_text("")
    os.utime(file, (0, 0))
    complaint = (await daemon.service.diffs.proposal(deploy.id)).complaint
    assert complaint is not None and "'@python' is no group" in complaint
    await daemon.service.proposals.approve(deploy.id, "test")
    assert await daemon.service.loop.settled(ALICE, 30)
    card = await daemon.service.cards.get(deploy.id)
    assert card.status == "failed" and card.note is not None and "'@python' is no group" in card.note


async def test_what_runs_goes_on_although_its_group_went(daemon: Daemon) -> None:
    file = allow_python(daemon)
    deploy = await daemon.service.settings.propose(ALICE, "test", WANTS)
    await daemon.service.proposals.approve(deploy.id, "test")
    assert await daemon.service.loop.settled(ALICE, 30)
    file.write_text("")
    os.utime(file, (0, 0))
    await daemon.service.agents.rebuild(ALICE, "test")
    assert await daemon.service.loop.settled(ALICE, 30)
    assert daemon.world.observer.observe(ALICE).container.launch is not None
    assert (await daemon.service.cards.get(deploy.id)).state == "deployed"


@pytest.mark.parametrize(("allow", "passes"), [("a.example.org", True), ("a.example", False)])
async def test_the_ceiling_is_that_of_the_configuration(allow: str, passes: bool, tmp_path: Path) -> None:
    operator = OperatorSettings(tmp_path / "none", "*.example.org")
    checked = check_reach_of_text(f'network.allow = ["{allow}"]'.encode(), operator)
    if passes:
        return await checked
    with pytest.raises(Refused, match=r"'a\.example' is beyond the operator's ceiling, which allows \*\.example\.org"):
        await checked
    return None


@pytest.mark.parametrize("text", [None, b"", b"network = 1", b"\xff"])
async def test_a_file_that_is_missing_or_broken_is_left_to_the_builder(text: bytes | None, tmp_path: Path) -> None:
    await check_reach_of_text(text, OperatorSettings(tmp_path / "none", "a.example"))

"""When `main` of a push repo may leave a commit that a person pushed there, and what status says if it cannot."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from meta.applied.repo import Applied
from meta.model import Deploy, TagState
from meta.names import AgentName, Sha
from meta.proposed import push_main
from reconciler.apply.push_mains import PushMains, may_leave
from reconciler.daemon.daemon import Daemon

MAIN, PUSHED = Sha("a" * 40), Sha("b" * 40)


class History:
    """An applied repo in which PUSHED descends from MAIN."""

    async def is_ancestor(self, ancestor: Sha, of: Sha) -> bool:
        return (ancestor, of) == (MAIN, PUSHED)


def ids(*states: TagState) -> list[Deploy]:
    made: Any = [SimpleNamespace(sha=PUSHED, base=MAIN, state=state) for state in states]
    return cast("list[Deploy]", made)


@pytest.mark.parametrize(
    ("states", "leaves"),
    [
        ([TagState.FAILED], True),
        ([TagState.DENIED, TagState.FAILED], True),
        ([TagState.FAILED, TagState.PROPOSAL], False),
        ([TagState.DENIED], False),
        ([TagState.BUILDING], False),
        ([], False),
    ],
)
async def test_main_leaves_a_failed_commit_at_once_and_no_other_that_could_be_deployed(
    states: list[TagState], leaves: bool
) -> None:
    applied = cast("Applied", History())
    assert await may_leave(applied, ids(*states), PUSHED, MAIN, held=True) is leaves


async def test_main_stays_at_a_failed_commit_that_hive_does_not_have() -> None:
    assert not await may_leave(cast("Applied", History()), ids(TagState.FAILED), PUSHED, MAIN, held=False)


async def test_status_says_why_a_push_repo_stays_behind_until_it_follows(daemon: Daemon) -> None:
    world, alice = daemon.world, AgentName("alice")
    mains, repo = PushMains(world), world.layout.push_repo(alice)
    lock = repo / "packed-refs.lock"
    (repo / "packed-refs").write_text("nonsense\n", encoding="ascii")
    for _ in range(50):  # the daemon's own look may be at work in the repo
        await mains.bring(alice)
        if mains.conditions(alice):
            break
    (condition,) = mains.conditions(alice)
    assert "packed-refs is longer than 1 MiB, or not as git writes it" in condition
    (repo / "packed-refs").write_text("", encoding="ascii")
    lock.touch()
    await mains.bring(alice)
    assert "packed-refs is locked by a git" in mains.conditions(alice)[0]
    lock.unlink()
    await mains.bring(alice)
    assert mains.conditions(alice) == ()


async def test_two_looks_never_work_in_one_push_repo_at_the_same_time(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, alice = daemon.world, AgentName("alice")
    at_work, most = 0, 0

    async def bring(*_: object) -> str:
        nonlocal at_work, most
        at_work, most = at_work + 1, max(most, at_work + 1)
        for _turn in range(5):
            await asyncio.sleep(0)
        at_work -= 1
        return "not yet"

    monkeypatch.setattr(push_main, "bring", bring)
    await asyncio.gather(PushMains(world).bring(alice), PushMains(world).bring(alice))
    assert most == 1

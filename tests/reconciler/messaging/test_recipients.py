"""Whom an agent may write to: read once per deployed commit, and closed when it cannot be read."""

from __future__ import annotations

import asyncio

import pytest
from typing_extensions import override

from meta.errors import NotFound, TransientError
from meta.names import AgentName, Sha
from reconciler.messaging.broker import Broker
from reconciler.messaging.cleaning import hourly
from reconciler.messaging.questions import Questions
from reconciler.messaging.recipients import Recipients
from reconciler.observe.settings import DeployedSettings

ALICE = AgentName("alice")


class Repo:
    """An applied repo whose commits have one file or none. `reads` counts."""

    def __init__(self) -> None:
        self.pin: Sha | None = Sha("1" * 40)
        self.files: dict[str, bytes] = {"1" * 40: b'recipients = ["bob"]', "2" * 40: b"recipients = 7"}
        self.reads = 0
        self.fault: TransientError | None = None

    async def read(self, _agent: AgentName, sha: Sha) -> bytes:
        self.reads += 1
        if self.fault is not None:
            raise self.fault
        if sha not in self.files:
            raise NotFound("no agent.toml")
        return self.files[sha]


@pytest.fixture
def repo() -> Repo:
    return Repo()


@pytest.fixture
def lists(repo: Repo) -> Recipients:
    return Recipients(DeployedSettings(lambda _agent: repo.pin, repo.read))


async def test_a_list_is_read_once_for_each_commit(repo: Repo, lists: Recipients) -> None:
    for _ in range(3):
        assert await lists.allowed("alice", "bob")
        assert not await lists.allowed("alice", "operator")
    assert repo.reads == 1
    repo.pin = Sha("3" * 40)
    assert await lists.allowed("alice", "operator")
    assert repo.reads == 2


async def test_a_list_that_is_not_valid_allows_nobody(repo: Repo, lists: Recipients) -> None:
    repo.pin = Sha("2" * 40)
    assert not await lists.allowed("alice", "bob")
    settings = await DeployedSettings(lambda _agent: repo.pin, repo.read).of(ALICE)
    assert settings is not None
    assert not settings.auto_propose


async def test_a_list_that_cannot_be_read_now_is_read_again(repo: Repo, lists: Recipients) -> None:
    repo.fault = TransientError("the disk")
    with pytest.raises(TransientError, match="the disk"):
        await lists.allowed("alice", "bob")
    repo.fault = None
    assert await lists.allowed("alice", "bob")


async def test_before_its_first_deploy_an_agent_is_told_to_try_again(repo: Repo, lists: Recipients) -> None:
    repo.pin = None
    with pytest.raises(TransientError, match="until its first commit is deployed"):
        await lists.allowed("alice", "bob")


@pytest.mark.looptime
async def test_messages_are_cleaned_every_hour_even_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[float] = []

    class Cleaned(Broker):
        def __init__(self) -> None:  # no database
            pass

        @override
        async def clean(self, now: float) -> int:
            calls.append(now)
            if len(calls) == 1:
                raise TransientError("the disk is full")
            return 1

    class Over(Questions):
        def __init__(self) -> None:
            pass

        @override
        async def clean(self, now: float) -> int:
            calls.append(-now)
            return 1

    monkeypatch.setattr("reconciler.messaging.cleaning.time.time", lambda: 7.0)
    task = asyncio.create_task(hourly(Cleaned(), Over()))
    await asyncio.sleep(2.5 * 3600)
    task.cancel()
    assert calls == [7.0, 7.0, -7.0, 7.0, -7.0]

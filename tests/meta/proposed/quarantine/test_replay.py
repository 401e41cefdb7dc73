"""Replaying a proposal onto a newer commit, with real git: no work tree, no hook, nothing changed on a conflict."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from meta.errors import Conflict, Refused
from meta.names import ProposalId, Sha
from meta.proposed.quarantine import replay as module
from meta.proposed.quarantine.replay import Replay, replay
from meta.proposed.quarantine.repo import Fetched
from tests.support.quarantine_lab import QuarantineLab, config, made_lab


@pytest.fixture
def hive() -> Iterator[QuarantineLab]:
    with made_lab() as made:
        yield made


async def pinned(hive: QuarantineLab) -> Sha:
    """Bring the work tree's commit to the applied repo, and go back to the base there."""
    fetched = await hive.fetch()
    hive.work.git("reset", "-q", "--hard", hive.base)
    return fetched.sha


async def deployed(hive: QuarantineLab, files: dict[str, str]) -> Sha:
    """Deploy another commit on the base."""
    hive.work.commit(files, "deployed")
    sha = await pinned(hive)
    hive.applied.git("update-ref", "refs/heads/main", sha)
    return sha


async def replayed(hive: QuarantineLab, sha: Sha, onto: Sha) -> Fetched:
    made = await replay(Replay(sha, onto, hive.applied.path, 1000, "rebase by hand"), hive.layout, config())
    assert made.staged is not None
    made.staged.place(ProposalId(next(hive.ids)))
    return made


async def test_each_commit_keeps_author_and_message_and_stands_on_what_is_deployed(hive: QuarantineLab) -> None:
    hive.work.commit({"one": "1"}, "first")
    hive.work.commit({"two": "2"}, "second\n\nwhy")
    sha = await pinned(hive)
    main = await deployed(hive, {"three": "3"})
    made = await replayed(hive, sha, main)
    assert (made.commits, made.message) == (2, "second\n\nwhy")
    log = hive.applied.git("log", "--format=%an|%cn|%s", f"{main}..{made.sha}").splitlines()
    assert log == ["an agent|hive|second", "an agent|hive|first"]
    assert hive.applied.git("ls-tree", "--name-only", made.sha).split() == [
        "agent.toml",
        "flake.nix",
        "one",
        "three",
        "two",
    ]
    assert hive.left_over() == []
    hive.applied.git("fsck", "--full", "--strict")


async def test_merges_are_left_out_and_counted(hive: QuarantineLab) -> None:
    one = hive.work.commit({"one": "1"}, "first")
    hive.work.git("reset", "-q", "--hard", hive.base)
    hive.work.commit({"two": "2"}, "second")
    hive.work.git("merge", "-q", "--no-ff", "-m", "merged", one)
    sha = await pinned(hive)
    main = await deployed(hive, {"three": "3"})
    made = await replayed(hive, sha, main)
    assert (made.commits, made.merges) == (2, 1)


async def test_changes_in_two_places_of_one_file_are_merged(hive: QuarantineLab) -> None:
    lines = [f"line {number}\n" for number in range(20)]
    base = hive.work.commit({"notes": "".join(lines)}, "notes")
    await hive.fetch()
    hive.work.commit({"notes": "".join(["mine\n", *lines])})
    sha = (await hive.fetch()).sha
    hive.work.git("reset", "-q", "--hard", base)
    hive.work.commit({"notes": "".join([*lines, "theirs\n"])})
    main = (await hive.fetch()).sha
    made = await replayed(hive, sha, main)
    assert hive.applied.git("show", f"{made.sha}:notes").split("\n") == ["mine", *map(str.strip, lines), "theirs"]


async def test_a_conflict_names_each_file_and_leaves_nothing(hive: QuarantineLab) -> None:
    hive.work.commit({"agent.toml": "model = 2\n", "naïve name": "a\n", "free": "x"})
    sha = await pinned(hive)
    main = await deployed(hive, {"agent.toml": "model = 3\n", "naïve name": "b\n"})
    before = sorted((hive.applied.path / "objects/pack").iterdir())
    with pytest.raises(Conflict, match=r"both change 'agent\.toml', 'naïve name'; nothing was changed") as error:
        await replayed(hive, sha, main)
    assert error.value.hint == "rebase by hand"
    assert sorted((hive.applied.path / "objects/pack").iterdir()) == before
    assert hive.left_over() == []


async def test_what_is_deployed_already_leaves_nothing_to_replay(hive: QuarantineLab) -> None:
    hive.work.commit({"one": "1"}, "mine")
    sha = await pinned(hive)
    main = await deployed(hive, {"one": "1", "two": "2"})
    with pytest.raises(Conflict, match="is deployed already"):
        await replayed(hive, sha, main)


async def test_too_many_commits_are_refused(hive: QuarantineLab, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        hive.work.commit({"one": str(number)})
    sha = await pinned(hive)
    main = await deployed(hive, {"two": "2"})
    monkeypatch.setattr(module, "MOST_COMMITS", 2)
    with pytest.raises(Refused, match="more than 2 commits"):
        await replayed(hive, sha, main)

"""Targets of a scope are looked at with the rights of the CLI, and what its side says of them is checked."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from harness.child import STARTER
from harness.subagents.targets import Target, find_targets
from meta.errors import BadInput, TransientError
from tests.harness.starter.in_place_of_systemd import AS_UID, starter
from tests.harness.test_owners import open_to_all


@pytest_asyncio.fixture(params=["in the harness", "by a starter"])
async def where(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    (tmp_path / "work/src").mkdir(parents=True)
    (tmp_path / "work/file").touch()
    (tmp_path / "work/link").symlink_to("src")
    if request.param == "in the harness":
        monkeypatch.delenv(STARTER, raising=False)
        yield request.param
        return
    async with starter(tmp_path) as (path, _):
        monkeypatch.setenv(STARTER, str(path))
        yield request.param


@pytest.mark.usefixtures("where")
async def test_targets_are_canonical_and_say_whether_a_folder_is_there(tmp_path: Path) -> None:
    work = tmp_path.resolve() / "work"
    assert await find_targets(["src", "link", "file", "new/one", str(work)], work) == (
        Target(f"{work}/src", True),
        Target(f"{work}/src", True),
        Target(f"{work}/file", False),
        Target(f"{work}/new/one", False),
        Target(str(work), True),
    )


@pytest.mark.usefixtures("where")
@pytest.mark.parametrize("target", ["", "a/../b", "a\0b", "x" * 5_000, "circle"])
async def test_what_cannot_be_a_target_is_refused_with_the_reason(tmp_path: Path, target: str) -> None:
    (tmp_path / "work/circle").symlink_to("circle")
    with pytest.raises(BadInput, match="cannot be a target of a scope") as refusal:
        await find_targets(["src", target], tmp_path / "work")
    assert refusal.value.hint


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "[]",
        "{}",
        "[1]",
        '[{"path": "relative"}]',
        '[{"path": "/a/../b"}]',
        '[{"path": "/a//b"}]',
        '[{"path": 7}]',
        '[{"path": "/a\\u0000"}]',
        json.dumps([{"path": "/" + "x" * 5_000}]),
        "[" * 100_000,
    ],
)
async def test_a_starter_that_says_something_else_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    async def said(*_: object) -> Saying:
        return Saying(answer)

    monkeypatch.setenv(STARTER, "there is one")
    monkeypatch.setattr("harness.subagents.targets.start_look", said)
    with pytest.raises(TransientError if answer != '[{"path": "/a\\u0000"}]' else BadInput):
        await find_targets(["src"], tmp_path)


class Saying:
    """A look that wrote one line."""

    def __init__(self, text: str) -> None:
        self.data, self.dropped = text.encode(), 0

    async def line(self) -> Saying:
        return self

    async def end(self) -> None:
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as somebody else")
async def test_what_only_the_uid_of_the_cli_may_enter_is_a_target_and_what_it_may_not_enter_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, other = tmp_path / "private", tmp_path / "other"
    for folder, owner in ((private, 65534), (other, 65533)):
        (folder / "part").mkdir(parents=True)
        os.chown(folder, owner, owner)
        folder.chmod(0o700)
    open_to_all(private)
    async with starter(tmp_path, **{AS_UID: "65534"}) as (path, _):
        path.chmod(0o666)
        monkeypatch.setenv(STARTER, str(path))
        assert await find_targets([f"{private}/part"], Path("/")) == (Target(f"{private.resolve()}/part", True),)
        with pytest.raises(BadInput, match="Permission denied"):
            await find_targets([f"{other}/part"], Path("/"))

"""Workspaces: real git through the relay and a stand-in for hive-egress, on loopback."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from harness.relay.egress import Misses, egress_relay
from harness.way_out.way_out import WayOut
from harness.workspace.clone import Cloned, clone
from harness.workspace.workspaces import FIRST_SECONDS, Workspaces
from meta.agent_toml.workspace import Workspace
from meta.network.variables import proxy_variables
from meta.wire.live import Note
from tests.harness.fake_way_out import FakeWayOut, fake_way_out
from tests.support.scripted_runtime import EventList

HARNESS = (sys.executable, "-P", "-m", "harness.cli")
SSH = "#!/bin/sh\nfor word; do case $word in ProxyCommand=*) command=${word#*=};; esac; done\n"
SSH += 'command=$(printf %s "$command" | sed "s/%h/git.example.org/; s/%p/22/")\nexec sh -c "$command"\n'
"""An ssh without a protocol: what it reads and writes is git's own."""


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repo `repo.git` with one commit, in a folder."""
    folder = tmp_path_factory.mktemp("upstream")
    names = [f"GIT_{who}_{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]
    env = {**os.environ, **dict.fromkeys(names, "x"), "GIT_CONFIG_GLOBAL": "/dev/null"}
    for words in (
        ("init", "-qb", "main", "tree"),
        ("-C", "tree", "commit", "-qm", "first", "--allow-empty"),
        ("clone", "-q", "--bare", "tree", "repo.git"),
        ("-C", "repo.git", "update-server-info"),
    ):
        subprocess.run(("git", *words), cwd=folder, env=env, check=True)
    return folder


@pytest.fixture
async def way() -> AsyncIterator[FakeWayOut]:
    async with asyncio.timeout(30), fake_way_out() as fake:
        yield fake


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ssh").write_text(SSH, encoding="ascii")
    (tmp_path / "bin/ssh").chmod(0o755)
    return tmp_path / "work"


def environment(url: str, work: Path) -> dict[str, str]:
    path = f"{work.parent / 'bin'}:{os.environ['PATH']}"
    return {
        "PATH": path,
        "HOME": str(work.parent),
        "HIVE_AGENT": "alice",
        **proxy_variables(int(url.rpartition(":")[2]), HARNESS),
    }


def workspace(url: str, path: str = "", **more: str) -> Workspace:
    return Workspace.model_validate({"url": url, "path": path or "repo", **more})


async def test_a_repo_is_cloned_by_ssh_through_the_way_out_and_left_alone_afterwards(
    way: FakeWayOut, work: Path, upstream: Path
) -> None:
    async def sshd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        words = ("git", "upload-pack", str(upstream / "repo.git"))
        pipe = asyncio.subprocess.PIPE
        pack = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe)
        assert pack.stdin is not None
        assert pack.stdout is not None
        await asyncio.gather(_copy(reader, pack.stdin), _copy(pack.stdout, writer))
        await pack.wait()

    repo = workspace("git@git.example.org:repo.git", "team/repo", branch="main")
    async with await asyncio.start_server(sshd, "127.0.0.1", 0) as server, egress_relay(way.folder) as url:
        way.hosts["git.example.org:22"] = server.sockets[0].getsockname()[1]
        env = environment(url, work)
        assert await clone(repo, work, env, lambda _: None) == Cloned(new=True)
        (work / "team/repo/mine").write_text("mine", encoding="ascii")
        assert await clone(repo, work, env, lambda _: None) == Cloned()
    assert (work / "team/repo/mine").exists()
    assert [path.name for path in (work / "team").iterdir()] == ["repo"]
    assert len(way.asked) == 1


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def test_a_repo_is_cloned_by_the_route_of_a_key_outside(
    way: FakeWayOut, work: Path, upstream: Path, tmp_path: Path
) -> None:
    way.answer = {"routes": {"hub": "git"}, "upstreams": {"hub": "https://git.corp"}, "refused": [], "next": 0}
    way.routes["hub"] = upstream
    async with egress_relay(way.folder) as url:
        out = WayOut(way.folder, url, "claude", tmp_path, Misses())
        await out.look()
        env = {**environment(url, work), **out.access().env}
        assert await clone(workspace("https://git.corp/repo.git"), work, env, lambda _: None) == Cloned(new=True)
    assert (work / "repo/.git/HEAD").exists()


@pytest.mark.parametrize("url", ["https://git.example.org/repo.git", "ssh://git@git.example.org/repo.git"])
async def test_a_refused_host_names_the_rule_that_is_missing(way: FakeWayOut, work: Path, url: str) -> None:
    async with egress_relay(way.folder) as proxy:
        cloned = await clone(workspace(url), work, environment(proxy, work), lambda _: None)
    rule = "git.example.org:443" if url.startswith("https") else "git.example.org:22"
    assert cloned.problem == f"{rule} is refused: it needs a rule in network.allow, `hive network allow alice {rule}`"
    assert list(work.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "by_https"),
    [
        ("502 cannot-resolve-git.example.org", "the way out answered 502; `hive network alice` has the reason"),
        ("429 too-many", "the way out answered 429; `hive network alice` has the reason"),
        ("403 git.example.org:22-is-beyond-the-ceiling-of-the-operator", None),
    ],
)
async def test_a_host_that_is_not_reached_for_another_reason_names_no_rule(
    way: FakeWayOut, work: Path, answer: str, by_https: str | None
) -> None:
    way.refusal = answer
    async with egress_relay(way.folder) as proxy:
        env = environment(proxy, work)
        cloned = await clone(workspace("ssh://git@git.example.org/repo.git"), work, env, lambda _: None)
        assert cloned.problem == f"no way to git.example.org:22: {answer}"
        if by_https is not None:
            cloned = await clone(workspace("https://git.example.org/repo.git"), work, env, lambda _: None)
            assert cloned.problem == f"no way to git.example.org:443: {by_https}"


async def test_what_a_broken_clone_left_does_not_count_and_goes_with_the_next_one(
    way: FakeWayOut, work: Path, upstream: Path
) -> None:
    way.routes["hub"] = upstream
    repo = workspace("https://git.corp/repo.git")
    async with egress_relay(way.folder) as url:
        env = environment(url, work) | {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{url}/hub/.insteadOf"}
        env["GIT_CONFIG_VALUE_0"] = "https://git.corp/"
        missing = workspace("https://git.corp/other.git")
        assert "not found" in (await clone(missing, work, env, lambda _: None)).problem
        assert await clone(repo, work, env, lambda _: None) == Cloned(new=True)


class Git:
    """In place of `clone`: each try ends as told."""

    def __init__(self, *ends: Cloned) -> None:
        self.ends = list(ends)
        self.go = asyncio.Event()

    async def __call__(self, _: Workspace, __: Path, ___: Mapping[str, str], progress: Callable[[str], None]) -> Cloned:
        progress("Receiving objects: 45%")
        await self.go.wait()
        return self.ends.pop(0)


async def opened() -> str:
    return ""


async def test_the_first_turn_waits_for_a_clone_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    git, events, now = Git(Cloned(new=True)), EventList(), 100.0
    monkeypatch.setattr("harness.workspace.workspaces.clone", git)
    spaces = Workspaces([workspace("https://a.b/c")], Path("/state/work"), dict, opened, events, lambda: now)
    changes: list[str] = []
    running = asyncio.create_task(spaces.run(lambda: changes.append(spaces.states[0].state)))
    while len(changes) < 2:
        await asyncio.sleep(0)
    assert spaces.why() == "cloning repo: the first turn waits for it"
    now += FIRST_SECONDS
    assert spaces.why() == ""
    assert list(spaces.lines()) == [
        "the workspace /state/work/repo is not ready: it is being cloned (Receiving objects: 45%)"
    ]
    spaces.mark_shown()
    git.go.set()
    await running
    assert list(spaces.lines()) == ["the workspace /state/work/repo is ready now"]
    spaces.mark_shown()
    assert list(spaces.lines()) == []
    assert changes == ["cloning", "cloning", "ready"]
    assert [event.text for event in events.events if isinstance(event, Note)][-1] == "the workspace repo is cloned"


async def test_a_clone_that_failed_is_tried_again_and_keeps_no_turn_back(monkeypatch: pytest.MonkeyPatch) -> None:
    git = Git(Cloned("a.b:443 is refused"), Cloned(new=True))
    git.go.set()
    monkeypatch.setattr("harness.workspace.workspaces.clone", git)
    monkeypatch.setattr("harness.workspace.workspaces.FIRST_DELAY", 0.01)
    spaces = Workspaces([workspace("https://a.b/c")], Path("/w"), dict, opened, EventList())
    seen: list[tuple[str, str]] = []
    await spaces.run(lambda: seen.append((spaces.states[0].state, spaces.why())))
    assert ("failed", "") in seen
    assert seen[-1] == ("ready", "")


async def test_without_workspaces_nothing_is_waited_for() -> None:
    spaces = Workspaces([], Path("/w"), dict, opened, EventList())
    await spaces.run(lambda: None)
    assert (spaces.why(), spaces.states, list(spaces.lines())) == ("", (), [])

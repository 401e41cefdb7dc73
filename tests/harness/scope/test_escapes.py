"""Ways out of a scope, tried by real programs that Landlock keeps to it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from harness.child import start_child
from harness.scope.bounds import Bounds, grants_of, without_mounted
from harness.scope.mounts import Mounts, read_mounts
from harness.scope.needs import needs_of, scope_of
from harness.scope.plan import Needs
from meta.agent_toml.settings import AgentSettings
from meta.errors import Refused
from meta.process.landlock import CHANGE, HOLDS, abi, held_by
from meta.scope.rules import READ, WRITE, Rule, Scope

needs_landlock = pytest.mark.skipif(abi() < HOLDS, reason="this kernel has no Landlock")
ENV = {"PATH": os.environ["PATH"], "LC_ALL": "C"}


class Place:
    """Folders `open` (written), `seen` (read), `closed` (neither), and `open/secret`, which is denied."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        for name in ("open/sub", "open/secret", "seen", "closed"):
            (self.folder / name).mkdir(parents=True)
            (self.folder / name / "file").write_text("before")
        read = needs_of(AgentSettings(), ENV, self.folder, ()).read
        allow = (Rule(f"{self.folder}/open", WRITE), Rule(f"{self.folder}/seen", READ))
        self.bounds = Bounds(Scope(allow, (Rule(f"{self.folder}/open/secret", READ),)), Needs(read))

    async def run(self, script: str, bounds: Bounds | None = None) -> list[str]:
        """Return the words that a shell in the folder prints."""
        child = await start_child(["sh", "-c", script], ENV, self.folder, bounds or self.bounds)
        try:
            return [line.data.decode() async for line in child.lines()]
        finally:
            await child.end(((signal.SIGTERM, 0.2),))

    def unchanged(self) -> bool:
        found = {
            str(path.relative_to(self.folder)): path.read_text() if path.is_file() else "no file"
            for name in ("seen", "closed", "open/secret")
            for path in (self.folder / name).rglob("*")
        }
        return found == dict.fromkeys(("seen/file", "closed/file", "open/secret/file"), "before")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


ESCAPES = {
    "write by a shell": "echo 1 > closed/new; echo 1 >> closed/file; echo 1 > seen/file; echo 1 > open/secret/new",
    "make and remove": "mkdir closed/d; rm -f closed/file seen/file; rmdir closed; mkfifo closed/p; mkdir seen/d",
    "a symlink to a file": "ln -s ../../closed/file open/sub/l; echo 1 > open/sub/l; cat open/sub/l",
    "a symlink to a folder": "ln -s ../../closed open/sub/d; echo 1 > open/sub/d/new; cat open/sub/d/file",
    "a hard link": "for x in closed seen open/secret; do ln $x/file open/sub/h && echo 1 > open/sub/h; done",
    "a rename across": "for x in closed/file seen/file open/secret; do mv $x open/sub/; done; mv open/sub closed/",
    "the root of a process": "echo 1 > /proc/self/root$HERE/closed/new; cat /proc/$PPID/root$HERE/closed/file",
    "the folder of a process": "cat /proc/self/cwd/closed/file; cd closed && cat file; cat /proc/$PPID/cwd/closed/file",
    "a mount": "unshare -Urm sh -c 'mount --bind seen open/sub && echo 1 > open/sub/file'",
    "what another job does": "(sleep 0.05; echo 1 > closed/new; cat closed/file) & wait",
}


@needs_landlock
@pytest.mark.parametrize("way", ESCAPES)
async def test_there_is_no_way_out(place: Place, way: str) -> None:
    printed = await place.run(f"HERE={place.folder}\n(\n{ESCAPES[way]}\n) 2>/dev/null\necho end")
    assert printed == ["end"]
    assert place.unchanged()


@pytest.mark.parametrize("way", sorted(ESCAPES.keys() - {"a mount"}))
async def test_without_a_scope_each_of_them_is_a_way(place: Place, way: str) -> None:
    child = await start_child(["sh", "-c", f"HERE={place.folder}\n({ESCAPES[way]})"], ENV, place.folder)
    try:
        printed = [line.data async for line in child.lines()]
    finally:
        await child.end(((signal.SIGTERM, 0.2),))
    assert printed or not place.unchanged()


@needs_landlock
async def test_what_the_scope_gives_is_there(place: Place) -> None:
    script = (
        "cat seen/file; echo; echo 1 > open/sub/new; mkdir open/sub/d; mv open/sub/new open/sub/d/; echo 2 > open/file"
    )
    await place.run(script)
    assert (place.folder / "open/sub/d/new").read_text() == "1\n"
    assert (await place.run("cat seen/file"))[0] == "before"
    assert not (place.folder / "open/file").exists(), "a folder with a denied entry takes no new ones"


@needs_landlock
async def test_what_a_sub_agent_may_write_its_parent_may_read_and_not_write(place: Place) -> None:
    lent = Bounds(place.bounds.scope, place.bounds.needs, (Rule(f"{place.folder}/open/sub", WRITE),))
    printed = await place.run("cat open/sub/file; echo; (echo 1 > open/sub/file) 2>/dev/null || echo refused", lent)
    assert printed == ["before", "refused"]


@needs_landlock
async def test_a_link_in_the_place_of_a_target_gives_nothing_and_starts_nothing(place: Place) -> None:
    (place.folder / "seen").rename(place.folder / "aside")
    (place.folder / "seen").symlink_to("closed")
    with pytest.raises(Refused, match="which is a link") as raised:
        await place.run("cat seen/file")
    assert f"{place.folder}/closed" in raised.value.hint


def test_a_kernel_that_cannot_hold_a_scope_starts_no_cli_unless_the_operator_allows_it(place: Place) -> None:
    for version in (0, 2):
        with pytest.raises(Refused, match="cannot be held") as raised:
            grants_of(place.bounds, version)
        assert "HIVE_SOFT_SCOPES" in raised.value.hint
    soft = Bounds(place.bounds.scope, place.bounds.needs, soft=True)
    assert grants_of(soft, 0) is None
    assert grants_of(soft, 2) is not None
    assert [held_by(0, soft=True), held_by(0), held_by(7)] == [
        "NOT HELD: this kernel has no Landlock",
        "refused: this kernel has no Landlock",
        "Landlock, ABI 7",
    ]


def test_relative_targets_are_below_the_folder_of_agent_toml_and_devices_are_written(place: Place) -> None:
    table = {"scope": {"allow": [{"target": ".", "permission": "read"}, {"target": "a//b/", "permission": "write"}]}}
    settings = AgentSettings.model_validate(table)
    assert settings.scope is not None
    scope = scope_of(settings.scope, place.folder)
    assert scope.allow == (Rule(str(place.folder), READ), Rule(f"{place.folder}/a/b", WRITE))
    assert ("/dev", CHANGE) in {grant[:2] for grant in grants_of(place.bounds, HOLDS) or ()}


def test_a_deny_that_mounts_hold_needs_no_grants_one_by_one() -> None:
    allow = (Rule("/w", WRITE),)
    scope = Scope(allow, (Rule("/w/a/b", WRITE), Rule("/w/c", READ), Rule("/w/d", WRITE, recursive=False)))
    held = Mounts({"/w/a": False, "/w/a/b": True, "/w/c": True}, frozenset({"/w/c"}))
    assert without_mounted(scope, held).deny == (Rule("/w/d", WRITE, recursive=False),)
    movable = Mounts({"/w/a/b": True, "/w/c": True})
    assert without_mounted(scope, movable) == scope, "/w/a could be moved away, and /w/c can be read"
    open_beneath = Mounts({"/w/a": False, "/w/a/b": True, "/w/a/b/x": False})
    assert without_mounted(scope, open_beneath) == scope


def test_mounts_are_read_from_the_kernel(tmp_path: Path) -> None:
    file = tmp_path / "mountinfo"
    lines = ("/ / rw", "/x /a\\040b ro,nosuid", "/ /c ro", "/ /c rw")
    file.write_text("".join(f"1 0 8:1 {line} - ext4 d rw\n" for line in lines))
    assert read_mounts(file) == Mounts({"/": False, "/a b": True, "/c": False})
    assert read_mounts(tmp_path / "none") == Mounts()
    assert read_mounts().are_at("/proc")

"""What of the host's coding agents is bound into sandboxes, and what never is."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from meta.config import Config
from meta.process import agent_programs as module
from meta.process import sandbox
from meta.process.agent_programs import BIN, AgentProgram, agent_programs, describe
from meta.process.sandbox import Sandbox

UID = 524_288


@pytest.fixture
def home() -> Iterator[Path]:
    """A home in which somebody installed programs. Its parent is open, it is not."""
    with tempfile.TemporaryDirectory(prefix="hive-home-", dir="/var/tmp") as directory:
        home = Path(directory) / "home" / "eve"
        (home / "bin").mkdir(parents=True)
        (home / ".ssh").mkdir()
        (home / ".ssh" / "id").write_text("secret")
        home.chmod(0o700)
        yield home


def program(path: Path, text: str = "#!/bin/sh\necho it runs\n", mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def found(home: Path, setting: str = "", keep_out: tuple[Path, ...] = ()) -> dict[str, AgentProgram]:
    config = Config.model_validate({"agent_programs": setting})
    return {one.name: one for one in agent_programs(config, keep_out, search=str(home / "bin"))}


def inside(programs: dict[str, AgentProgram], *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a sandbox that has these."""
    path = ":".join([str(BIN), *(str(one.search) for one in programs.values() if one.search), "/usr/bin:/bin"])
    box = Sandbox(
        read_only=tuple(one.bind for one in programs.values() if one.bind),
        links=tuple(one.link for one in programs.values() if one.link),
        env=(("PATH", path), ("HOME", "/tmp")),
        uid=UID if os.geteuid() == 0 else None,
    )
    argv_ = sandbox.command(box, argv)
    return subprocess.run(argv_, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)


needs_bwrap = pytest.mark.skipif(sandbox.available() is None, reason="bubblewrap is not installed")


# what is found
def test_a_program_of_the_system_needs_a_link_only() -> None:
    programs = agent_programs(Config(), search="/usr/bin:/bin")
    for one in programs:
        assert one.bind is None
        if one.path is not None:
            assert one.link is not None
            assert one.link[1] == BIN / one.name


def test_what_is_not_there_is_named_with_that(home: Path) -> None:
    programs = found(home)
    assert programs["codex"] == AgentProgram("codex", None, "not found")
    assert set(programs) == set(module.NAMES)


@needs_bwrap
@pytest.mark.bwrap
def test_a_file_behind_links_is_bound_alone_and_nothing_of_its_home_is_seen(home: Path) -> None:
    program(home / "share" / "versions" / "2.1.9")
    program(home / "share" / "versions" / "secret")
    (home / "bin" / "claude").symlink_to("../share/current")
    (home / "share" / "current").symlink_to("versions/2.1.9")
    programs = found(home)
    assert programs["claude"].bind == (home / "share/versions/2.1.9", Path("/programs/lib/claude/2.1.9"))
    assert inside(programs, "claude").stdout == "it runs\n"
    looked = inside(
        programs, "/bin/sh", "-c", f"ls /programs/lib/claude; ls -d {home} {home.parent} /var 2>&1; touch x"
    )
    assert looked.stdout.splitlines()[0] == "2.1.9"
    assert looked.stdout.count("No such file") == 3


@needs_bwrap
@pytest.mark.bwrap
def test_a_package_of_npm_comes_with_the_packages_beside_it(home: Path) -> None:
    tree = home / "lib" / "node_modules"
    program(
        tree / "@openai" / "codex" / "bin" / "codex.sh", '#!/bin/sh\n. "$(dirname "$(readlink -f "$0")")/../../../x"\n'
    )
    (tree / "x").write_text("echo from beside\n")
    (home / "bin" / "codex").symlink_to("../lib/node_modules/@openai/codex/bin/codex.sh")
    programs = found(home)
    assert programs["codex"].bind == (tree, Path("/programs/lib/codex/node_modules"))
    assert inside(programs, "codex").stdout == "from beside\n"


def test_the_outermost_node_modules_is_bound_because_the_store_of_pnpm_lies_in_it(home: Path) -> None:
    tree = home / "global" / "node_modules"
    program(tree / ".pnpm" / "gemini@1" / "node_modules" / "gemini" / "cli.sh")
    (home / "bin" / "gemini").symlink_to(tree / ".pnpm/gemini@1/node_modules/gemini/cli.sh")
    link = found(home)["gemini"].link
    assert link is not None
    assert link[0] == "/programs/lib/gemini/node_modules/.pnpm/gemini@1/node_modules/gemini/cli.sh"


@pytest.mark.parametrize("first", ["#!/usr/bin/env nodejs-x", "#!/usr/bin/env -S nodejs-x --flag", "#!/srv/nodejs-x"])
def test_a_program_whose_interpreter_agents_do_not_have_is_left_out_with_that_reason(home: Path, first: str) -> None:
    program(home / "bin" / "codex", f"{first}\n")
    codex = found(home)["codex"]
    assert (codex.link, codex.bind) == (None, None)
    assert "nodejs-x, which agents do not have" in codex.why


def test_the_interpreter_may_be_one_of_the_programs(home: Path) -> None:
    program(home / "bin" / "node")
    program(home / "bin" / "codex", "#!/usr/bin/env node\n")
    assert [found(home)[name].why for name in ("node", "codex")] == ["", ""]


@pytest.mark.parametrize(
    ("mode", "why"),
    [(0o700 if os.geteuid() == 0 else 0o600, "agents may not read and execute"), (None, "leads nowhere")],
)
def test_a_program_that_agents_cannot_run_is_left_out_with_the_reason(home: Path, mode: int | None, why: str) -> None:
    path = home / "x" / "claude"
    if mode is not None:
        program(path, mode=mode)
    assert why in found(home, str(path))["claude"].why


def test_a_named_file_is_taken_before_one_on_the_path(home: Path) -> None:
    program(home / "bin" / "claude")
    other = program(home / "other" / "claude")
    claude = found(home, str(other))["claude"]
    assert claude.path == other
    assert claude.bind == (other, Path("/programs/lib/claude/claude"))


@needs_bwrap
@pytest.mark.bwrap
def test_a_named_folder_is_bound_as_it_is_and_its_bin_is_on_the_path(home: Path) -> None:
    tree = home / "sdk"
    program(tree / "bin" / "sdk-tool")
    tree.chmod(0o755)
    programs = found(home, str(tree))
    assert programs[str(tree)].bind == (tree, tree)
    assert programs[str(tree)].search == tree / "bin"
    assert inside(programs, "sdk-tool").stdout == "it runs\n"
    assert inside(programs, "/bin/ls", "-A", str(home)).stdout.split() == ["sdk"]


# what is never bound
@pytest.mark.parametrize(
    "folder", ["/", "/home", "/root", "/etc", "/etc/ssl", "/var", "/run", "/proc", "/sys/fs", "/dev", "/programs"]
)
def test_folders_that_are_no_place_for_programs_are_refused(home: Path, folder: str) -> None:
    refused = found(home, folder).get(folder)
    if refused is not None and Path(folder).is_dir():
        assert refused.why
        assert (refused.bind, refused.link, refused.search) == (None, None, None)


def test_a_home_is_refused_and_a_folder_of_it_is_not(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Eve:
        pw_dir = str(home)

    monkeypatch.setattr(pwd, "getpwall", lambda: [Eve])
    home.chmod(0o755)
    (home / "go").mkdir()
    programs = found(home, f"{home}:{home / 'go'}:{home.parent}")
    assert "home of a user" in programs[str(home)].why
    assert "home of a user" in programs[str(home.parent)].why
    assert programs[str(home / "go")].why == ""


def test_a_folder_with_credentials_is_refused_also_behind_a_link(home: Path) -> None:
    (home / "harmless").symlink_to(".ssh")
    programs = found(home, f"{home / '.ssh'}:{home / 'harmless'}")
    assert [programs[str(home / name)].why for name in (".ssh", "harmless")] == [
        "programs keep credentials in .ssh"
    ] * 2


def test_nothing_of_hives_own_directories_is_bound(home: Path) -> None:
    own = home / "state"
    (own / "agents").mkdir(parents=True)
    for folder in (own, own / "agents", home):
        assert found(home, str(folder), (own,))[str(folder)].why


def test_what_agents_have_and_do_not_is_one_line(home: Path) -> None:
    program(home / "bin" / "claude")
    program(home / "bin" / "codex", "#!/usr/bin/env nodejs-x\n")
    programs = agent_programs(Config(), search=str(home / "bin"))
    assert describe(programs) == "claude; codex: it is run by nodejs-x, which agents do not have"
    assert describe(agent_programs(Config(), search=str(home))) == "none"


def test_what_hive_may_not_look_at_is_named_and_the_others_are_there(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_dir = Path.is_dir

    def closed(path: Path) -> bool:
        if path.is_relative_to("/closed"):
            raise PermissionError(13, "Permission denied")
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", closed)
    program(home / "bin" / "claude")
    programs = found(home, "/closed/tool")
    assert programs["/closed/tool"].why == "Permission denied"
    assert programs["claude"].why == ""


def test_a_relative_path_is_refused() -> None:
    (one,) = [one for one in agent_programs(Config(agent_programs="bin/claude"), search="") if one.name == "claude"]
    assert one.why == "not an absolute path"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@needs_bwrap
@pytest.mark.bwrap
def test_node_and_npm_of_this_host_run_inside() -> None:
    programs = {one.name: one for one in agent_programs(Config())}
    for name in ("node", "npm"):
        if programs[name].path is not None:
            assert programs[name].why == ""
            done = inside(programs, name, "--version")
            assert done.returncode == 0, done.stderr

"""What is inherited without being asked does not reach hive's own programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from api.cli.terminal.terminal import foreground
from meta.process import ambient
from meta.process.ambient import search_path
from meta.process.run import run

CHECKOUT = Path(__file__).parents[3]
LOOK = """
import os, subprocess
from meta.process import ambient
ambient.settle()
import sys
print("lost", flush=True)
out = sys.argv[1]
with open(out, "w") as file:
    print([os.path.realpath(f"/proc/self/fd/{n}") for n in range(3)], file=file)
    print(oct(os.stat(out).st_mode & 0o777), file=file)
    print(sorted(k for k in os.environ if k.startswith(("GIT_", "LD_"))), os.environ["PATH"], file=file)
    print(ambient.before()["GIT_DIR"], file=file)
"""


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_command_starts_with_open_streams_a_closed_umask_and_no_git_variables(tmp_path: Path, umask: int) -> None:
    out = tmp_path / "out"
    env = {"GIT_DIR": "/other", "GIT_SSH": "/x", "LD_FOO": "1", "PATH": ".:/usr/bin::/bin", "PYTHONPATH": str(CHECKOUT)}
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", LOOK, str(out)]
    subprocess.run(closed, env=env, check=True, timeout=20, umask=umask)
    streams, mode, variables, before = out.read_text().splitlines()
    assert streams == str(["/dev/null"] * 3)
    assert mode == oct(0o666 & ~(umask | 0o022))
    assert variables == "[] /usr/bin:/bin"
    assert before == "/other"


@pytest.mark.parametrize("path", ["", ".", "bin:./x"])
def test_no_program_is_looked_for_in_the_working_directory(path: str) -> None:
    assert search_path({"PATH": path}) == os.defpath


def test_a_program_in_the_foreground_gets_the_environment_that_the_person_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_EDITOR_MARK", "kept")
    monkeypatch.setattr(ambient, "_before", dict(os.environ))
    monkeypatch.delenv("GIT_EDITOR_MARK")
    assert foreground(["sh", "-c", 'test "$GIT_EDITOR_MARK" = kept && exit 7']) == 7


async def test_a_command_begins_in_the_root_directory_and_with_hives_own_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("GIT_DIR", "GIT_CONFIG_GLOBAL", "LD_LIBRARY_PATH", "PYTHONPATH", "BASH_ENV", "HIVE_RESYNC"):
        monkeypatch.setenv(name, "/nowhere")
    lines = (await run(["sh", "-c", "pwd; env"], deadline=20)).text.splitlines()
    assert lines[0] == "/"
    assert {line.split("=")[0] for line in lines[1:]} <= {"PATH", "HOME", "LANG", "PWD", "OLDPWD", "SHLVL", "_"}

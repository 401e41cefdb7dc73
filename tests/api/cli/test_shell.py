"""What `hive shell` runs: command lines, and the namespaces of a container that was made without root."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from api.cli.commands.shell import inner, nixos_command
from meta.errors import Refused
from meta.process import sandbox

ENCLOSURE = [
    "bwrap",
    "--setenv",
    "HOME",
    "/home/agent",
    "--setenv",
    "LD_PRELOAD",
    "x",
    "--",
    "setpriv",
    "--reuid",
    "70000",
]
USER = ["setpriv", "--reuid", "30000", "--regid", "30000", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]


def test_rights_are_given_up_before_the_agents_environment_is_set() -> None:
    argv = inner(ENCLOSURE, ["ls"], own_uid=False, terminal=True)
    assert argv[0].endswith("/setsid")
    at = argv.index("-i")
    for word in ("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--clear-groups"):
        assert argv.index(word) < at
    assert argv[argv.index("--reuid") + 1] == "70000"
    assert argv.index("LD_PRELOAD=x") > at
    assert argv[-1] == "ls"


@pytest.mark.parametrize("started", [["bwrap", "--", "sh"], ["bwrap", "--", "setpriv", "--reuid", "0"], ["--reuid"]])
def test_root_enters_no_container_as_root(started: list[str]) -> None:
    with pytest.raises(Refused, match="root"):
        inner(started, ["ls"], own_uid=False, terminal=False)


def test_systemds_own_tools_enter_a_container_of_backend_nixos() -> None:
    assert nixos_command("alice", "agent", [], terminal=True) == ["machinectl", "--quiet", "shell", "agent@alice"]
    argv = nixos_command("alice", "agent", ["ls", "-l", "; x"], terminal=False)
    assert argv[:3] == ["systemd-run", "--machine=alice", "--uid=agent"]
    assert "--pipe" in argv
    assert argv[-3:] == ["ls", "-l", "; x"]


INSIDE = """
import os, subprocess, sys
from api.cli.terminal.namespaces import Room
from api.cli.commands.shell import inner
from api.cli.terminal.terminal import enclosed
room = Room(int(sys.argv[1]))
if sys.argv[2] == "user":
    os.setgroups([]); os.setresgid(30000, 30000, 30000); os.setresuid(30000, 30000, 30000)
program = ["sh", "-c", "id -u; hostname; grep CapEff /proc/self/status; exit 5"]
argv = inner(["--setenv", "HOME", "/"], program, own_uid=True, terminal=False)
sys.exit(enclosed(argv, {"PATH": os.environ["PATH"]}, (), room.enter))
"""


@pytest.mark.bwrap
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be another user")
@pytest.mark.parametrize("who", ["root", "user"])
def test_a_container_that_was_made_without_root_is_entered_as_its_user(who: str) -> None:
    host = replace(sandbox.detect(), root=False)
    ready = ["/bin/sh", "-c", "echo up; exec sleep 60"]
    argv = [*USER, "--", *sandbox.command(sandbox.Sandbox(hostname="alice"), ready, host)]
    with subprocess.Popen(argv, cwd="/", stdout=subprocess.PIPE, text=True) as container:
        try:
            assert container.stdout is not None
            assert container.stdout.readline() == "up\n"
            first = Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text(encoding="ascii").split()[0]
            done = subprocess.run(
                [sys.executable, "-c", INSIDE, first, who], capture_output=True, text=True, timeout=30,
                stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
            )  # fmt: skip
        finally:
            container.kill()
    assert (done.returncode, done.stderr) == (5, "")
    assert done.stdout.split() == ["30000", "alice", "CapEff:", "0" * 16]

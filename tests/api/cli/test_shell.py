"""What `hive shell` runs: command lines, and the namespaces of a container that was made without root."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from api.cli.commands.shell import container_command, nixos_command
from meta.errors import Refused
from meta.network.variables import proxy_variables
from meta.process.sandbox import Sandbox
from meta.process.seccomp.unit import settings
from tests.support.in_sandbox import command

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


def test_rights_are_given_up_before_the_agents_environment_is_set() -> None:
    argv = container_command(ENCLOSURE, ["ls"], {}, own_uid=False, terminal=True)
    assert argv[0].endswith("/setsid")
    at = argv.index("-i")
    for word in ("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--clear-groups"):
        assert argv.index(word) < at
    assert argv[argv.index("--reuid") + 1] == "70000"
    assert argv.index("LD_PRELOAD=x") > at
    assert argv[-1] == "ls"


def test_a_shell_has_the_way_out_of_the_agents_cli() -> None:
    harness = ["/usr/bin/python3", "-P", "-m", "harness.cli"]
    started = [*ENCLOSURE, "--clear-groups", "--", *harness, "serve"]
    argv = container_command(
        ["bwrap", "--setenv", "HIVE_EGRESS_PORT", "3128", *started], ["ls"], {}, own_uid=True, terminal=False
    )
    for name, value in proxy_variables(3128, harness).items():
        assert f"{name}={value}" in argv
    older = container_command(started, ["ls"], {}, own_uid=True, terminal=False)
    assert not [word for word in older if "proxy" in word.lower()]
    nixos = nixos_command("alice", "agent", ["ls"], {}, terminal=False)
    assert "--setenv=https_proxy=http://127.0.0.1:3128" in nixos[: nixos.index("--")]


def test_git_in_a_shell_asks_the_routes_of_the_keys_outside() -> None:
    repos = {"forge": "https://git.example.org"}
    local = container_command(
        ["bwrap", "--setenv", "HIVE_EGRESS_PORT", "3129", *ENCLOSURE[1:]], ["git"], repos, own_uid=True, terminal=False
    )
    assert "GIT_CONFIG_KEY_0=url.http://127.0.0.1:3129/forge/.insteadOf" in local
    assert "GIT_CONFIG_VALUE_0=https://git.example.org/" in local
    nixos = nixos_command("alice", "agent", ["git"], repos, terminal=False)
    assert "--setenv=GIT_CONFIG_VALUE_1=git@git.example.org:" in nixos[: nixos.index("--")]


@pytest.mark.parametrize("started", [["bwrap", "--", "sh"], ["bwrap", "--", "setpriv", "--reuid", "0"], ["--reuid"]])
def test_root_enters_no_container_as_root(started: list[str]) -> None:
    with pytest.raises(Refused, match="root"):
        container_command(started, ["ls"], {}, own_uid=False, terminal=False)


def test_systemds_own_tool_enters_a_container_of_backend_nixos() -> None:
    argv = nixos_command("alice", "agent", ["ls", "-l", "; x"], {}, terminal=False)
    assert argv[:3] == ["systemd-run", "--machine=alice", "--uid=agent"]
    assert "--pipe" in argv
    assert argv[-3:] == ["ls", "-l", "; x"]


@pytest.mark.parametrize("program", [[], ["ls"]])
def test_a_shell_of_backend_nixos_has_the_filter_of_the_harness(program: list[str]) -> None:
    argv = nixos_command("alice", "agent", program, {}, terminal=True)
    assert "--pty" in argv
    assert "--property=NoNewPrivileges=true" in argv
    assert {f"--property={key}={value}" for key, value in settings().items()} < set(argv[: argv.index("--")])


@pytest.mark.bwrap
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be another user")
@pytest.mark.parametrize("who", ["root", "user"])
def test_a_container_made_without_root_is_entered_as_its_user_and_under_the_filter(
    who: str,
) -> None:
    argv = command("user", Sandbox(hostname="alice"), ["/bin/sh", "-c", "echo up; exec sleep 60"])
    with subprocess.Popen(argv, cwd="/", stdout=subprocess.PIPE, text=True) as container:
        try:
            assert container.stdout is not None
            assert container.stdout.readline() == "up\n"
            first = Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text(encoding="ascii").split()[0]
            done = subprocess.run(
                [sys.executable, "-m", "tests.support.shell_in_namespaces", first, who],
                capture_output=True, text=True, timeout=30,
                stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
            )  # fmt: skip
        finally:
            container.kill()
    assert (done.returncode, done.stderr) == (5, "")
    lines = done.stdout.splitlines()
    assert [line.split() for line in lines[:4]] == [["30000"], ["alice"], ["CapEff:", "0" * 16], ["Seccomp:", "2"]]
    assert lines[-1] == "0022"
    assert "operators-key" not in done.stdout

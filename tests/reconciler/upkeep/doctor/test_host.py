"""What `hive doctor` says about the host."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from meta.config import Config
from reconciler.backends.nixos.abilities import BUS_AWAY
from reconciler.upkeep.doctor.checks.base import Daemon, Subject, Verdict
from tests.reconciler.upkeep.doctor.looks import WELL, look, only, program, running_since, whole_host


@pytest.mark.parametrize(("said", "verdict"), [("2.20.1", "fail"), ("2.30.2", "warn"), ("2.39.5", "ok")])
async def test_git_is_judged_by_its_version(
    bare: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, verdict: str
) -> None:
    program(tmp_path / "bin", "git", f"echo git version {said}")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert [row.verdict for row in await look(bare, "git")] == [verdict]


async def test_git_that_is_missing_fails(bare: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    await only(bare, "git", Verdict.FAIL, "not installed")


@pytest.mark.parametrize(("builder", "verdict"), [("plain", "ok"), ("nix", "fail")])
async def test_nix_is_missed_only_by_its_builder(
    bare: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, builder: str, verdict: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    bare.builder = builder
    assert [row.verdict for row in await look(bare, "nix")] == [verdict]


async def test_builder_nix_wants_flakes_and_nixpkgs(
    bare: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare.builder = "nix"
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    program(tmp_path / "bin", "nix", "echo 'nix (Nix) 2.3.16'")
    await only(bare, "nix", Verdict.FAIL, "no flakes")
    program(tmp_path / "bin", "nix", "echo 'nix (Nix) 2.8.0'")
    await only(bare, "nix", Verdict.FAIL, "nixpkgs")
    bare.config = Config(nixpkgs="path:/nixpkgs")
    await only(bare, "nix", Verdict.OK, "nix 2.8.0")


@pytest.mark.parametrize(("isolation", "verdict"), [("required", "fail"), ("unsafe-none", "warn")])
async def test_bubblewrap_that_is_missing_or_may_make_no_namespace_is_told(
    bare: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isolation: str, verdict: str
) -> None:
    bare.config = Config(isolation=isolation)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert [row.verdict for row in await look(bare, "bubblewrap")] == [verdict]
    program(tmp_path / "bin", "bwrap", "echo 'No permissions to create new namespace' >&2; exit 1")
    assert "No permissions" in (await only(bare, "bubblewrap", Verdict(verdict), "namespace")).text


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's agents need a user namespace too")
@pytest.mark.parametrize(("builder", "verdict"), [("plain", "warn"), ("nix", "fail")])
async def test_root_that_can_make_no_user_namespace_is_reported_though_agents_run(
    bare: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, builder: str, verdict: str
) -> None:
    bare.builder = builder
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    refusal = "*--unshare-user*) echo 'bwrap: Creating new namespace failed: (ENOSPC)' >&2; exit 1"
    program(tmp_path / "bin", "bwrap", f'case "$*" in {refusal};; esac')
    await only(bare, "bubblewrap", Verdict(verdict), "no more user namespaces are allowed here")


@pytest.mark.parametrize(
    ("mounts", "verdict"),
    [
        ("", "warn"),
        ("25 1 0:23 / {0} ro,nosuid shared:4 - cgroup2 cgroup2 rw\n", "warn"),
        ("25 1 0:23 / {0} rw,nosuid shared:4 - cgroup2 cgroup2 rw\n", "ok"),
        ("25 1 0:23 / /c rw - cgroup c rw,memory\n26 1 0:24 / /d rw - cgroup d rw,cpu,cpuacct\n", "warn"),
    ],
)
async def test_control_groups_are_looked_for_without_a_daemon(
    bare: Subject, tmp_path: Path, mounts: str, verdict: str
) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n", encoding="ascii")
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mountinfo").write_text(mounts.format(tmp_path), encoding="ascii")
    bare.host = whole_host(proc=tmp_path)
    assert [row.verdict for row in await look(bare, "cgroups")] == [verdict]


async def test_a_daemon_says_itself_what_it_enforces(bare: Subject) -> None:
    bare.daemon = replace(WELL, limits="not enforced: hive may not write a cgroup here")
    await only(bare, "cgroups", Verdict.WARN, "may not write")
    bare.daemon = WELL
    await only(bare, "cgroups", Verdict.OK, "enforced")


async def test_what_holds_the_scopes_of_agents_is_told(bare: Subject) -> None:
    await only(bare, "scopes", Verdict.OK, "the kernel holds the scopes of agents: Landlock, ABI 7")
    bare.host = whole_host(landlock=lambda: 2)
    await only(bare, "scopes", Verdict.OK, "takes no turns here: refused: Landlock of ABI 2 does not hold truncate(2)")
    bare.config = bare.config.model_copy(update={"soft_scopes": True})
    assert "HIVE_SOFT_SCOPES" in (await only(bare, "scopes", Verdict.WARN, "scopes of agents are NOT HELD")).remedy


async def test_low_limits_of_inotify_and_open_files_are_told(bare: Subject, tmp_path: Path) -> None:
    folder = tmp_path / "sys/fs/inotify"
    folder.mkdir(parents=True)
    (folder / "max_user_instances").write_text("8\n", encoding="ascii")
    (folder / "max_user_watches").write_text("65536\n", encoding="ascii")
    bare.host = whole_host(proc=tmp_path, files=lambda: 64)
    assert "sysctl" in (await only(bare, "inotify", Verdict.WARN, "max_user_instances is 8")).remedy
    await only(bare, "files", Verdict.WARN, "64 files")


async def test_the_limit_of_open_files_is_the_daemons_while_one_runs(bare: Subject, tmp_path: Path) -> None:
    bare.layout.lock.parent.mkdir(parents=True, exist_ok=True)
    bare.layout.lock.write_text("77\n", encoding="ascii")
    bare.held = True
    bare.host = whole_host(proc=tmp_path, files=lambda: 4096)
    await only(bare, "files", Verdict.OK, "4096 open files")
    limits = tmp_path / "77/limits"
    limits.parent.mkdir()
    limits.write_text("Max processes 9 9 processes\nMax open files   100     128    files\n", encoding="ascii")
    await only(bare, "files", Verdict.WARN, "the daemon may open 128 files")


@pytest.mark.parametrize(
    ("changes", "verdict", "text"),
    [
        ({"f_bavail": 1000}, "fail", "only 3 MiB"),
        ({"f_bavail": 2**18}, "warn", "only 1024 MiB"),
        ({"f_favail": 3}, "warn", "only 3 inodes"),
        ({"f_flag": os.ST_RDONLY}, "fail", "read-only"),
        ({"f_files": 0, "f_favail": 0}, "ok", "MiB free"),
    ],
)
async def test_little_room_is_told(bare: Subject, changes: dict[str, int], verdict: str, text: str) -> None:
    room = {
        "f_blocks": 2**31,
        "f_bavail": 2**30,
        "f_frsize": 4096,
        "f_files": 10**7,
        "f_favail": 10**6,
        "f_flag": 0,
    } | changes
    bare.host = whole_host(disk=lambda _: cast(os.statvfs_result, SimpleNamespace(**room)))
    await only(bare, "disk", Verdict(verdict), text)


async def test_a_clock_that_jumped_back_fails_and_one_that_nobody_keeps_is_told(bare: Subject) -> None:
    bare.host = whole_host(synchronised=lambda: False)
    await only(bare, "clock", Verdict.WARN, "not synchronised")
    bare.host = whole_host(now=lambda: time.time() - 86_400)
    await only(bare, "clock", Verdict.FAIL, "in the future")


async def test_timedatectl_is_named_only_where_it_would_do_something(bare: Subject, tmp_path: Path) -> None:
    systemd = tmp_path / "systemd"
    bare.host = whole_host(synchronised=lambda: False, systemd=systemd)
    assert "timedatectl" not in (await only(bare, "clock", Verdict.WARN, "not synchronised")).remedy
    (systemd / "system").mkdir(parents=True)
    assert "timedatectl" in (await only(bare, "clock", Verdict.WARN, "not synchronised")).remedy
    (systemd / "container").touch()
    assert "timedatectl" not in (await only(bare, "clock", Verdict.WARN, "not synchronised")).remedy


@pytest.mark.parametrize(("jump", "said"), [(3600.0, "forward by 3600 s"), (-3600.0, "back by 3600 s"), (5.0, "")])
async def test_a_clock_that_was_set_while_the_daemon_ran_is_told(
    subject: Subject, tmp_path: Path, jump: float, said: str
) -> None:
    running_since(subject, tmp_path / "proc", 4000.0)
    subject.host = replace(subject.host, now=lambda: time.time() + jump)
    told = [row.text for row in await look(subject, "clock") if row.verdict is Verdict.WARN]
    assert bool(told) is bool(said)
    assert all(said in text for text in told)


async def test_the_system_bus_is_missed_only_by_its_backend(
    bare: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'bus'}")
    await only(bare, "bus", Verdict.OK, "does not need it")
    bare.backend = "nixos"
    await only(bare, "bus", Verdict.FAIL, "no system bus at")


@pytest.mark.parametrize(
    ("notes", "verdict", "text"),
    [((BUS_AWAY,), Verdict.FAIL, "the system bus is not connected"), ((), Verdict.OK, "connected")],
)
async def test_a_daemon_that_lost_the_system_bus_is_told(
    bare: Subject, notes: tuple[str, ...], verdict: Verdict, text: str
) -> None:
    bare.backend = "nixos"
    bare.daemon = Daemon(str(bare.layout.state), "1", "nixos", "nix", "some", "some", notes=notes)
    await only(bare, "bus", verdict, text)


async def test_the_root_helper_is_missed_only_by_its_backend(bare: Subject, tmp_path: Path) -> None:
    bare.config = Config(helper_socket=str(tmp_path / "helper"))
    await only(bare, "helper", Verdict.OK, "does not need it")
    bare.backend = "nixos"
    await only(bare, "helper", Verdict.FAIL, "no root helper")
    (tmp_path / "helper").touch()
    await only(bare, "helper", Verdict.FAIL, "not a socket")

"""Checks of the machine: programs, control groups, limits, disk, clock, root helper."""

from __future__ import annotations

import asyncio
import os
import re
import stat
from pathlib import Path

from meta import own_file
from meta.errors import Damaged, HiveError
from meta.nix import find
from meta.nix.cli import OLDEST
from meta.process.landlock import HOLDS, held_by
from meta.process.privilege import ONE_UID_REMEDY, ROOT_REMEDY, privilege
from meta.process.run import run
from meta.process.trial import tried, tried_user_namespace
from reconciler.common.controllers import CONTROLLERS
from reconciler.common.reserve import Room, room_in
from reconciler.upkeep.disk.largest import explain
from reconciler.upkeep.disk.measure import measure
from reconciler.upkeep.doctor.checks.base import Finding, Subject, Verdict, names_in, ok
from reconciler.upkeep.doctor.checks.clock import advice

SECONDS = 15.0
OLDEST_GIT, DURABLE_GIT = (2, 28), (2, 36)
"""The first version with --initial-branch, and the first with core.fsync."""
_NEWER = f"hold them by a kernel with Landlock of ABI {HOLDS} or later (Linux 6.2)"
INSTANCES, WATCHES = 64, 8192
"""Limits of inotify that suffice for hive, its harnesses and a desktop together."""
FILES_EACH, FILES_LEAST = 8, 1024
DISK_FAIL, DISK_WARN, INODES_WARN = 256 * 2**20, 2 * 2**30, 10_000
FUTURE = 120.0
JUMP = 60.0
"""Seconds by which the clock may have been corrected since the daemon started."""


async def git(subject: Subject) -> list[Finding]:
    """Check that git is installed and new enough."""
    done = await run(["git", "--version"], deadline=SECONDS, check=False)
    match = re.search(r"(\d+)\.(\d+)", done.text)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    shown = done.text[:80] or "no version"
    if version < OLDEST_GIT:
        return [Finding(Verdict.FAIL, f"git is too old: {shown}", f"install git {_dotted(DURABLE_GIT)} or newer")]
    if version < DURABLE_GIT:
        text = f"{shown} does not write refs to disk before it answers (core.fsync)"
        return [Finding(Verdict.WARN, text, f"install git {_dotted(DURABLE_GIT)} or newer")]
    return ok(shown)


async def nix(subject: Subject) -> list[Finding]:
    """Check that nix has flakes, if the builder needs it."""
    needed = subject.builder == "nix"
    program = find(None)
    if program is None and not needed:
        return ok("nix is not installed; builder plain does not need it")
    if program is None:
        return [Finding(Verdict.FAIL, "builder nix needs nix, which is not on PATH", "install nix (nix-bin)")]
    try:
        version = await program.version()
    except HiveError as error:
        return [Finding(Verdict.FAIL if needed else Verdict.WARN, error.summary, error.hint)]
    if version[:2] < OLDEST:
        text = f"{program.program} is nix {_dotted(version)}, which has no flakes"
        verdict = Verdict.FAIL if needed else Verdict.WARN
        return [Finding(verdict, text, f"install nix {_dotted(OLDEST)} or newer")]
    if needed and not subject.config.nixpkgs and subject.daemon is None:
        return [Finding(Verdict.FAIL, "builder nix needs nixpkgs", "set HIVE_NIXPKGS to its flake URL")]
    return ok(f"nix {_dotted(version)}" + ("" if needed else "; builder plain does not need it"))


async def bubblewrap(subject: Subject) -> list[Finding]:
    """Check that bubblewrap is installed, may create namespaces, and runs under the filter of system calls."""
    allowed = subject.config.isolation == "unsafe-none"
    try:
        host = await tried(subject.config.uid_start)
    except HiveError as error:
        text = f"{error.summary}; " + (
            "agents run without isolation, and nothing can be fetched from proposed work trees"
            if allowed
            else "no agent starts, and nothing can be fetched from proposed work trees"
        )
        remedy = error.hint or (
            "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1, or run hive as root; "
            "the kernel needs CONFIG_SECCOMP_FILTER"
        )
        return [Finding(Verdict.WARN if allowed else Verdict.FAIL, text, remedy)]
    if privilege(subject.config.uid_start).hands_out_uids and (finding := await _user_namespace(subject)):
        return [finding]
    return ok(f"{host.bwrap} creates namespaces and runs under the filter of system calls")


async def scopes(subject: Subject) -> list[Finding]:
    """Check which Landlock the kernel has, for the scopes of agents."""
    soft, version = subject.config.soft_scopes, subject.host.landlock()
    held = held_by(version, soft=soft)
    if version >= HOLDS:
        return ok(f"the kernel holds the scopes of agents: {held}")
    if soft:
        return [Finding(Verdict.WARN, f"scopes of agents are {held}", f"unset HIVE_SOFT_SCOPES, or {_NEWER}")]
    return ok(f"an agent with a scope takes no turns here: {held}; {_NEWER}")


async def _user_namespace(subject: Subject) -> Finding | None:
    """Return what root lacks if it can make no user namespace: agents run without one."""
    try:
        await tried_user_namespace(subject.config.uid_start)
    except HiveError as error:
        nix = subject.builder == "nix"
        lost = "builder nix builds nothing" if nix else "nothing can be fetched from root's own repos elsewhere"
        return Finding(Verdict.FAIL if nix else Verdict.WARN, f"{error.summary}; {lost}", error.hint)
    return None


async def uids(subject: Subject) -> list[Finding]:
    """Agents get uids of their own if hive is root, and are never the host's root."""
    mine = privilege(subject.config.uid_start)
    if subject.backend != "local":
        return ok(f"backend {subject.backend} does not run agents under hive's own uid")
    if mine.host_root and (mine.why or not subject.config.fixed_uids):
        text = "no agent starts: it would be the host's root"
        return [Finding(Verdict.FAIL, f"{text}: {mine.why}" if mine.why else text, ROOT_REMEDY)]
    if mine.hands_out_uids and subject.config.fixed_uids:
        return ok("each agent has its own uid")
    if mine.why:
        text = f"agents are separated by namespaces only, not by uid: {mine.why}"
        return [Finding(Verdict.WARN, text, ONE_UID_REMEDY)]
    return ok(f"every agent has uid {mine.uid} and namespaces of its own")


async def cgroups(subject: Subject) -> list[Finding]:
    """Check that the limits of agents can be enforced."""
    remedy = "run hive as root or in a systemd unit with Delegate=yes; else agents share the machine without limits"
    if subject.daemon is not None and subject.daemon.limits:
        enforced = "not enforced" not in subject.daemon.limits
        return ok(subject.daemon.limits) if enforced else [Finding(Verdict.WARN, subject.daemon.limits, remedy)]
    present = _controllers((subject.host.proc / "self/mountinfo").read_text(encoding="utf-8"))
    missing = [name for name in CONTROLLERS if name not in present]
    if missing:
        return [Finding(Verdict.WARN, f"no writable cgroup controller for {', '.join(missing)}", remedy)]
    return ok(f"{', '.join(CONTROLLERS)} are available")


def _controllers(mountinfo: str) -> set[str]:
    """Return the controllers of every hierarchy that is mounted writable."""
    names: set[str] = set()
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind, fields = right.split(" ")[0], left.split(" ")
        if not kind.startswith("cgroup") or "ro" in fields[5].split(","):
            continue
        if kind == "cgroup2":
            listed = Path(fields[4], "cgroup.controllers")
            names.update(listed.read_text(encoding="ascii").split() if listed.exists() else ())
        else:
            names.update(right.rsplit(" ", 1)[-1].split(","))
    return names & set(CONTROLLERS)


async def inotify(subject: Subject) -> list[Finding]:
    """Check the limits of inotify: the tools of agents share the user's quota."""
    findings = []
    for name, least in (("max_user_instances", INSTANCES), ("max_user_watches", WATCHES)):
        path = subject.host.proc / "sys/fs/inotify" / name
        value = int(path.read_text(encoding="ascii"))
        if value < least:
            text = f"fs.inotify.{name} is {value}; below {least} agents' tools cannot watch files"
            findings.append(Finding(Verdict.WARN, text, f"sysctl fs.inotify.{name}={least * 8}"))
    return findings or ok("the limits of inotify suffice")


async def files(subject: Subject) -> list[Finding]:
    """Check that enough files may be open for the connections of all agents."""
    view = await subject.view()
    agents = len(view.desired.agents) if view is not None else 0
    own, wanted = _files_of_daemon(subject), FILES_LEAST + FILES_EACH * agents
    limit, who = (subject.host.files(), "a process") if own is None else (own, "the daemon")
    if 0 <= limit < wanted:
        text = f"{who} may open {limit} files; {agents} agents need {wanted}"
        return [Finding(Verdict.WARN, text, "raise the limit: LimitNOFILE= in the unit, or `ulimit -Hn`")]
    return ok(f"{limit if limit >= 0 else 'any number of'} open files are allowed")


def _files_of_daemon(subject: Subject) -> int | None:
    """Return how many files the daemon may have open, -1 for any number; None if no daemon runs, or it is unknown."""
    if not subject.held:
        return None
    try:
        pid = own_file.read(subject.layout.lock).decode("ascii", "replace").strip()
        text = (subject.host.proc / pid / "limits").read_text(encoding="ascii", errors="replace")
    except (OSError, Damaged):
        return None
    match = re.search(r"^Max open files +(?:\d+|unlimited) +(\d+|unlimited) ", text, re.MULTILINE)
    return None if match is None else -1 if match[1] == "unlimited" else int(match[1])


async def disk(subject: Subject) -> list[Finding]:
    """Check the free space of state and sockets, in bytes and inodes."""
    findings = []
    places = {"state": subject.layout.state, "runtime": subject.layout.runtime}
    if subject.builder == "nix":
        places["nix store"] = Path("/nix/store")
    for name, path in places.items():
        if not path.exists():
            continue
        status = subject.host.disk(path)
        free = status.f_bavail * status.f_frsize
        room = f"{free // 2**20} MiB free for the {name} ({path})"
        few = bool(status.f_files) and status.f_favail < INODES_WARN  # btrfs and others do not count inodes
        low = not status.f_flag & os.ST_RDONLY and name == "state" and (free < DISK_WARN or few)
        remedy = "free some space: purge agents that are not needed; with builder nix run `nix-collect-garbage`"
        remedy += await _largest(subject, room_in(status)) if low else ""
        if status.f_flag & os.ST_RDONLY:
            findings.append(
                Finding(Verdict.FAIL, f"{path} is mounted read-only", "check the kernel's log, then remount it")
            )
        elif name != "runtime" and free < DISK_WARN:
            findings.append(Finding(Verdict.FAIL if free < DISK_FAIL else Verdict.WARN, f"only {room}", remedy))
        elif few:
            findings.append(Finding(Verdict.WARN, f"only {status.f_favail} inodes are free for the {name}", remedy))
        else:
            findings.append(Finding(Verdict.OK, room))
    return findings or ok("there is no state directory yet")


async def _largest(subject: Subject, room: Room) -> str:
    """Return what to do about the agent that holds the most of the disk."""
    names = names_in(subject.layout.state / "agents")
    try:
        async with asyncio.timeout(SECONDS):
            sums = await measure(subject.layout, names)
    except TimeoutError:
        return ""
    return f"; {explain(sums, room)} (`hive status` also counts deleted files that agents hold open)" if sums else ""


async def clock(subject: Subject) -> list[Finding]:
    """Check that the clock is synchronised and did not jump."""
    findings, now = [], subject.host.now()
    ahead = [path for path in _dated_files(subject) if _mtime(path) > now + FUTURE]
    if ahead:
        text = f"{ahead[0]} has a time in the future: the clock jumped back, or was wrong then"
        findings.append(
            Finding(Verdict.FAIL, text, f"set the clock ({advice(subject.host.systemd)}), or wait until that time")
        )
    jump = subject.jump()
    if abs(jump) > JUMP:
        text = f"the clock was set {'forward' if jump > 0 else 'back'} by {abs(jump):.0f} s since the daemon started"
        remedy = "check that it is right now; `hive restart AGENT` ends a wait that became too long"
        findings.append(Finding(Verdict.WARN, text, remedy))
    if subject.host.synchronised() is False:
        text = "the kernel reports that its clock is not synchronised"
        findings.append(Finding(Verdict.WARN, text, advice(subject.host.systemd)))
    return findings or ok("it is synchronised, and no file is from the future")


def _dated_files(subject: Subject) -> list[Path]:
    layout = subject.layout
    return [layout.lock, layout.database, layout.owner, layout.meta_git / "refs/heads/main"]


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


async def helper(subject: Subject) -> list[Finding]:
    """Check that the root helper listens, if backend nixos needs it."""
    if subject.backend != "nixos":
        return ok(f"backend {subject.backend} does not need it")
    path = Path(subject.config.helper_socket)
    remedy = "systemctl status hive-privileged.socket; see docs/howto/nixos.md"
    try:
        is_socket = stat.S_ISSOCK(path.stat().st_mode)
    except OSError as error:
        return [Finding(Verdict.FAIL, f"there is no root helper at {path}: {error.strerror}", remedy)]
    if not is_socket:
        return [Finding(Verdict.FAIL, f"{path} is not a socket", remedy)]
    return ok(f"it listens at {path}")


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))

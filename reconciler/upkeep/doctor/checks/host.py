"""What hive needs of the machine: programs, control groups, limits, room, a clock."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from meta.errors import HiveError
from meta.nix import find
from meta.nix.cli import OLDEST
from meta.process.privilege import privilege
from meta.process.run import run
from meta.process.trial import tried
from reconciler.backends.local.enclosure import ONE_UID_REMEDY, ROOT_REMEDY
from reconciler.upkeep.doctor.checks.base import Finding, Subject, Verdict, ok
from reconciler.upkeep.doctor.checks.clock import advice

SECONDS = 15.0
OLDEST_GIT, DURABLE_GIT = (2, 28), (2, 36)
"""The first with --initial-branch, the first with core.fsync."""
INSTANCES, WATCHES = 64, 8192
"""inotify: what hive, its harnesses and a desktop need together."""
FILES_EACH, FILES_LEAST = 8, 1024
DISK_FAIL, DISK_WARN, INODES_WARN = 256 * 2**20, 2 * 2**30, 10_000
FUTURE = 120.0
JUMP = 60.0
"""Seconds by which the clock may have been corrected since the daemon started."""
CONTROLLERS = ("memory", "pids", "cpu")


async def git(subject: Subject) -> list[Finding]:
    """A git that is new enough."""
    done = await run(["git", "--version"], deadline=SECONDS, check=False)
    found = re.search(r"(\d+)\.(\d+)", done.text)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    said = done.text[:80] or "no version"
    if version < OLDEST_GIT:
        return [Finding(Verdict.FAIL, f"git is too old: {said}", f"install git {_dotted(DURABLE_GIT)} or newer")]
    if version < DURABLE_GIT:
        text = f"{said} does not put refs on the disk before it answers (core.fsync)"
        return [Finding(Verdict.WARN, text, f"install git {_dotted(DURABLE_GIT)} or newer")]
    return ok(said)


async def nix(subject: Subject) -> list[Finding]:
    """A nix with flakes, where the builder needs one."""
    needed = subject.builder == "nix"
    program = find(None)
    if program is None and not needed:
        return ok("nix is not installed; builder plain does without")
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
    """bubblewrap is there, and may make namespaces."""
    allowed = subject.config.isolation == "unsafe-none"
    try:
        host = await tried(subject.config.uid_start)
    except HiveError as error:
        text = f"{error.summary}; " + (
            "agents run without isolation, and nothing can be fetched from proposed work trees"
            if allowed
            else "no agent starts, and nothing can be fetched from proposed work trees"
        )
        remedy = error.hint or "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1, or run hive as root"
        return [Finding(Verdict.WARN if allowed else Verdict.FAIL, text, remedy)]
    return ok(f"{host.bwrap} makes namespaces")


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
    """Limits can be enforced."""
    remedy = "run hive as root or in a systemd unit with Delegate=yes; without that agents share the machine unbounded"
    if subject.daemon is not None and subject.daemon.limits:
        enforced = "not enforced" not in subject.daemon.limits
        return ok(subject.daemon.limits) if enforced else [Finding(Verdict.WARN, subject.daemon.limits, remedy)]
    found = _controllers((subject.host.proc / "self/mountinfo").read_text(encoding="utf-8"))
    missing = [name for name in CONTROLLERS if name not in found]
    if missing:
        return [Finding(Verdict.WARN, f"no writable cgroup controller for {', '.join(missing)}", remedy)]
    return ok(f"{', '.join(CONTROLLERS)} are there")


def _controllers(mountinfo: str) -> set[str]:
    """The controllers of every hierarchy that is mounted writable."""
    found: set[str] = set()
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind, fields = right.split(" ")[0], left.split(" ")
        if not kind.startswith("cgroup") or "ro" in fields[5].split(","):
            continue
        if kind == "cgroup2":
            listed = Path(fields[4], "cgroup.controllers")
            found.update(listed.read_text(encoding="ascii").split() if listed.exists() else ())
        else:
            found.update(right.rsplit(" ", 1)[-1].split(","))
    return found & set(CONTROLLERS)


async def inotify(subject: Subject) -> list[Finding]:
    """Enough watches: tools in agents' sessions share the user's quota."""
    found = []
    for name, least in (("max_user_instances", INSTANCES), ("max_user_watches", WATCHES)):
        path = subject.host.proc / "sys/fs/inotify" / name
        value = int(path.read_text(encoding="ascii"))
        if value < least:
            text = f"fs.inotify.{name} is {value}; agents' tools that watch files fail below {least}"
            found.append(Finding(Verdict.WARN, text, f"sysctl fs.inotify.{name}={least * 8}"))
    return found or ok("the limits of inotify suffice")


async def files(subject: Subject) -> list[Finding]:
    """Enough open files for every agent's connections."""
    view = await subject.view()
    agents = len(view.desired.agents) if view is not None else 0
    limit, wanted = subject.host.files(), FILES_LEAST + FILES_EACH * agents
    if 0 <= limit < wanted:
        text = f"a process may open {limit} files; {agents} agents want {wanted}"
        return [Finding(Verdict.WARN, text, "raise it: LimitNOFILE= in the unit, or `ulimit -Hn`")]
    return ok(f"{limit if limit >= 0 else 'any number of'} open files are allowed")


async def disk(subject: Subject) -> list[Finding]:
    """Room where state and sockets are, in bytes and inodes."""
    found = []
    places = {"state": subject.layout.state, "runtime": subject.layout.runtime}
    if subject.builder == "nix":
        places["nix store"] = Path("/nix/store")
    for name, path in places.items():
        if not path.exists():
            continue
        seen = subject.host.disk(path)
        free = seen.f_bavail * seen.f_frsize
        room = f"{free // 2**20} MiB free for the {name} ({path})"
        remedy = "free some space; purge agents that are not needed, `nix-collect-garbage` with builder nix"
        if seen.f_flag & os.ST_RDONLY:
            found.append(Finding(Verdict.FAIL, f"{path} is mounted read-only", "look at the kernel's log, remount"))
        elif name != "runtime" and free < DISK_WARN:
            found.append(Finding(Verdict.FAIL if free < DISK_FAIL else Verdict.WARN, f"only {room}", remedy))
        elif seen.f_files and seen.f_favail < INODES_WARN:  # btrfs and the like count none
            found.append(Finding(Verdict.WARN, f"only {seen.f_favail} inodes are free for the {name}", remedy))
        else:
            found.append(Finding(Verdict.OK, room))
    return found or ok("there is no state directory yet")


async def clock(subject: Subject) -> list[Finding]:
    """A clock that somebody keeps, and that did not jump back."""
    found, now = [], subject.host.now()
    ahead = [path for path in _clocked(subject) if _mtime(path) > now + FUTURE]
    if ahead:
        text = f"{ahead[0]} was written in the future: the clock jumped back, or was wrong then"
        found.append(
            Finding(Verdict.FAIL, text, f"set the clock ({advice(subject.host.systemd)}) or wait until it is that late")
        )
    jump = subject.jump()
    if abs(jump) > JUMP:
        text = f"the clock was set {'forward' if jump > 0 else 'back'} by {abs(jump):.0f} s since the daemon started"
        remedy = "see that it is right now; `hive restart AGENT` ends a wait that has grown long"
        found.append(Finding(Verdict.WARN, text, remedy))
    if subject.host.synchronised() is False:
        text = "the kernel says that nobody keeps its clock"
        found.append(Finding(Verdict.WARN, text, advice(subject.host.systemd)))
    return found or ok("it is kept, and nothing is from the future")


def _clocked(subject: Subject) -> list[Path]:
    layout = subject.layout
    return [layout.lock, layout.database, layout.owner, layout.meta_git / "refs/heads/main"]


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


async def helper(subject: Subject) -> list[Finding]:
    """The root helper, where backend nixos needs it."""
    if subject.backend != "nixos":
        return ok(f"backend {subject.backend} does without")
    path = Path(subject.config.helper_socket)
    remedy = "systemctl status hive-privileged.socket; see docs/howto/nixos.md"
    try:
        is_socket = stat.S_ISSOCK(path.stat().st_mode)
    except OSError as error:
        return [Finding(Verdict.FAIL, f"no root helper at {path}: {error.strerror}", remedy)]
    if not is_socket:
        return [Finding(Verdict.FAIL, f"{path} is no socket", remedy)]
    return ok(f"listens at {path}")


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))

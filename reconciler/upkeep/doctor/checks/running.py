"""Checks of running parts: the daemon, its sockets, the containers of backend `local` by their records."""

from __future__ import annotations

import os
import socket
import stat
from functools import partial
from pathlib import Path

from meta import own_file
from meta.errors import Damaged
from meta.text import command_line
from reconciler.common.revision import differs
from reconciler.upkeep.doctor.checks.agents import read_json, runs
from reconciler.upkeep.doctor.checks.base import Finding, Subject, Verdict, names_in, ok

ADDRESS = 107
"""Bytes of a socket's path, at most. Clients cannot connect to a longer path."""
_SECONDS = 2.0


async def daemon(subject: Subject) -> list[Finding]:
    """Check that one daemon holds this state directory, and that it is well."""
    here, seen = subject.layout.state, subject.daemon
    if seen is not None and Path(seen.state) != here:
        text = f"the daemon behind {subject.layout.http_socket} has another state directory: {seen.state}"
        return [Finding(Verdict.FAIL, text, "give --state and --runtime of the same hive")]
    if seen is None and not _may_know(subject):
        text = f"uid {os.geteuid()} may not see whether a daemon runs here"
        return [Finding(Verdict.WARN, text, "run `hive doctor` as hive's user, or as root")]
    if seen is None and subject.held:
        text = f"pid {_holder(subject)} holds {here} and does not answer at {subject.layout.http_socket}"
        return [
            Finding(
                Verdict.FAIL, text, "check --runtime and the daemon's log; if it hangs, restart it: agents keep running"
            )
        ]
    if seen is None:
        text = "no daemon runs: agents keep running, but nothing is deployed or repaired"
        return [Finding(Verdict.WARN, text, "run `hive serve`, or systemctl start hive")]
    findings = []
    if not subject.held:
        text = f"a daemon answers, but does not hold {subject.layout.lock}: was it deleted?"
        findings.append(Finding(Verdict.FAIL, text, "restart the daemon before a second one starts"))
    if ours := differs(seen.revision):
        text = f"the daemon runs {seen.revision}, this command is {ours}"
        findings.append(Finding(Verdict.WARN, text, "restart the daemon: agents keep running"))
    if seen.trouble:
        findings.append(
            Finding(Verdict.FAIL, f"the daemon is not well: {seen.trouble}", "check its log, then restart it")
        )
    return findings or ok(f"hive {seen.revision}, backend {seen.backend}, builder {seen.builder}")


def _may_know(subject: Subject) -> bool:
    """Return True if this user may open the lock and the socket."""
    paths = [path for path in (subject.layout.lock, subject.layout.http_socket) if os.path.lexists(path)]
    return all(os.access(path, os.R_OK | (os.W_OK if _is_socket(path) else 0)) for path in paths)


def _holder(subject: Subject) -> str:
    try:
        return own_file.read(subject.layout.lock).decode("ascii").strip() or "unknown"
    except (OSError, Damaged, UnicodeDecodeError):
        return "unknown"


async def sockets(subject: Subject) -> list[Finding]:
    """Check that the operator's sockets answer and are closed to others, and that each agent has its sockets."""
    findings = []
    for path in (subject.layout.host_socket, subject.layout.http_socket):
        findings += _operator(subject, path)
    view = await subject.view()
    for agent in view.desired.agents if view is not None and subject.held else ():
        for path in (subject.layout.mcp_socket(agent), subject.layout.harness_socket(agent)):
            if not _is_socket(path):
                text = f"{agent} has no socket {path}"
                findings.append(Finding(Verdict.WARN, text, f"`hive reconcile {agent}` makes it"))
    return findings or ok("they listen" if subject.held else "no daemon runs, so there are no sockets")


def _operator(subject: Subject, path: Path) -> list[Finding]:
    if not os.path.lexists(path):
        text = f"{path} is missing, and the daemon does not make it again"
        return [Finding(Verdict.FAIL, text, "restart the daemon: agents keep running")] if subject.held else []
    if not _is_socket(path):
        return [Finding(Verdict.FAIL, f"{path} is not a socket, but in its place", "move it away")]
    if not _listens(path):
        if subject.held:
            return [
                Finding(
                    Verdict.FAIL, f"the daemon does not listen at {path}", "restart the daemon: agents keep running"
                )
            ]
        fix = partial(_remove, subject, path)
        return [
            Finding(
                Verdict.WARN, f"{path} was left by a daemon that has ended", "a start of the daemon replaces it", fix
            )
        ]
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o007:
        text = f"every user of this host may use {path} (mode {mode:04o}), and so control all agents"
        return [Finding(Verdict.FAIL, text, command_line("chmod", "660", path))]
    if len(os.fsencode(path)) > ADDRESS:
        text = f"{path} is longer than {ADDRESS} bytes: curl and other clients cannot connect"
        return [Finding(Verdict.WARN, text, "give a shorter --runtime")]
    return []


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return False


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_SECONDS)
        try:
            directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                probe.connect(f"/proc/self/fd/{directory}/{path.name}")  # works for a path of any length
            finally:
                os.close(directory)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # not allowed, or busy: a process listens
            return True
    return True


def _remove(subject: Subject, path: Path) -> str:
    if subject.held or not _is_socket(path) or _listens(path):
        return f"{path} was left alone: it is in use again"
    path.unlink()
    return f"removed {path}"


async def containers(subject: Subject) -> list[Finding]:
    """Check that every container of backend `local` belongs to this hive and to an agent."""
    view, folder = await subject.view(), subject.layout.backend("local")
    if view is None or subject.backend != "local":
        return ok(f"the daemon checks those of backend {subject.backend}")
    owner = _text(subject.layout.owner)
    findings, up = [], 0
    for agent in names_in(folder):
        place = folder / agent
        marker = read_json(place / "hive.json")
        if marker.get("owner") != owner:
            text = f"{place} has no marker of this hive: hive does not touch it, and cannot create an agent {agent}"
            findings.append(Finding(Verdict.FAIL, text, "move it away"))
            continue
        up_now = runs(read_json(place / "run.json"))
        up += up_now
        if agent not in view.desired.agents and agent not in subject.repos():
            text = f"{'a running' if up_now else 'a'} container {agent} belongs to no agent"
            remedy = "a start of the daemon removes it" if not subject.held else f"`hive reconcile {agent}`"
            findings.append(Finding(Verdict.WARN, text, remedy))
    return findings or ok(f"{up} run")


def _text(path: Path) -> str:
    try:
        return own_file.read(path).decode("ascii").strip()
    except (OSError, Damaged, UnicodeDecodeError):
        return ""

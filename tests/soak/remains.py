"""What a daemon uses while it runs, and what a hive leaves behind: processes, files, mounts."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from tests.crash.agreement import leftovers, marked
from tests.soak.accounting import Sample, objections
from tests.soak.agents import HOSTILE
from tests.support.lab import Lab


def sample(pid: int) -> Sample | None:
    """What a daemon uses now, without its sockets, of which peers hold some open; None if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        descriptors = sum(not each.startswith("socket:") for each in opened(pid))
        kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    except (OSError, StopIteration):
        return None
    return Sample(pid, kib, descriptors)


def opened(pid: int) -> list[str]:
    """What a process has open."""
    targets = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            targets.append(str(path.readlink()))
    return targets


def files(lab: Lab) -> list[str]:
    """Files that exist only while something is being done."""
    layout = lab.layout
    folders = (layout.quarantine, layout.scratch, layout.processes, layout.removed)
    found = [path for folder in folders if folder.exists() for path in folder.iterdir()]
    return [f"left over: the file {path}" for path in [*found, *leftovers(layout.state)]]


def processes(lab: Lab) -> list[str]:
    """Processes of the hive: its own commands, and what sees its directory through a mount namespace."""
    found = [f"left over: the process {words!r}" for words in marked(lab.layout.owner.read_text(encoding="ascii"))]
    ours, place = Path("/proc/self/ns/mnt").readlink(), lab.directory.parent.name
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            inside = (path / "ns/mnt").readlink() != ours and place in (path / "mountinfo").read_text(encoding="utf-8")
        except OSError:  # gone meanwhile, or another user's
            continue
        if inside or (str(lab.directory) in command and path.name != str(os.getpid())):
            found.append(f"left over: the process {path.name} {command[:200]}")
    return found


def mounts(lab: Lab) -> list[str]:
    """Mounts below the hive's directory, beside the disk that it lies on."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    points = [line.split()[4] for line in lines]
    return [f"left over: the mount {point}" for point in points if point.startswith(f"{lab.directory}")]


def pauses(lab: Lab) -> list[str]:
    """Callbacks of the daemons' loops that worked for too long (tests/support/lab_daemon.py)."""
    report = lab.directory / "pauses"
    lines = report.read_text(encoding="utf-8").splitlines() if report.exists() else []
    return [f"pause: {line}" for line in lines]


def faults_of(lab: Lab, command: str, *words: str) -> list[dict[str, str]]:
    """The failed checks of `hive doctor`, or what `hive audit verify` objects to."""
    said = lab.hive(command, *words, "--json")
    try:
        report = json.loads(said.out)
    except ValueError:
        return [{"text": f"{command} says {said.out!r} {said.err!r}"}]
    if command == "audit":
        return objections(report["findings"])
    return [row for row in report["checks"] if row["verdict"] == "fail" and HOSTILE not in row["text"]]

"""Report as JSON what this process inherited. Run inside a sandbox, by a test."""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path


def status() -> dict[str, str]:
    """The fields of /proc/self/status."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def keys() -> str:
    """Return /proc/keys, "" if it is masked."""
    try:
        return Path("/proc/keys").read_text(encoding="utf-8", errors="replace")
    except PermissionError:
        return ""


def main() -> None:
    """Print it."""
    fields = status()
    at_start = {int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}  # noqa: PTH110, PTH208
    old = os.umask(0)
    seen = {
        "keys": keys(),
        "groups": fields["Groups"].split(),
        "ignored": int(fields["SigIgn"], 16),
        "blocked": int(fields["SigBlk"], 16),
        "umask": old,
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "policy": os.sched_getscheduler(0),
        "oom": int(Path("/proc/self/oom_score_adj").read_text(encoding="ascii")),
        "personality": Path("/proc/self/personality").read_text(encoding="ascii").strip("0\n"),
        "descriptors": sorted(at_start),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "nofile": resource.getrlimit(resource.RLIMIT_NOFILE),
        "rtprio": resource.getrlimit(resource.RLIMIT_RTPRIO),
        "rlimit nice": resource.getrlimit(resource.RLIMIT_NICE),
        "cwd": os.getcwd(),  # noqa: PTH109
        "environment": sorted(set(os.environ) - {"LC_CTYPE", "PWD"}),
        "session": os.getsid(0) > 0,
    }
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main()

"""Try the sandbox once, and name the real cause if it does not work: a switch of the kernel, a container, no /proc."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from meta.errors import HiveError, Refused
from meta.process import sandbox
from meta.process.privilege import FIRST_UID, Privilege, privilege, require_proc
from meta.process.run import run

_SECONDS = 10.0
_CONTAINER = (
    "give the container the right to make namespaces (--cap-add SYS_ADMIN --security-opt seccomp=unconfined "
    "--security-opt systempaths=unconfined), or run hive outside of it"
)
_SWITCHES = (
    ("user/max_user_namespaces", "0", "user namespaces are switched off", "sysctl user.max_user_namespaces=15000"),
    (
        "kernel/unprivileged_userns_clone",
        "0",
        "user namespaces are switched off for ordinary users",
        "sysctl kernel.unprivileged_userns_clone=1",
    ),
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "AppArmor denies user namespaces to ordinary users",
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or a profile for bwrap with `userns,`",
    ),
)
"""Below /proc/sys: the value that forbids, what that means, the remedy."""


async def tried(first: int = FIRST_UID) -> sandbox.Host:
    """Return the sandbox's host after a program ran in it, as agents would with uids from `first` on.

    Raises Refused with the cause and its remedy.
    """
    return await _try(first if privilege(first).hands_out_uids else None, first)


async def tried_user_namespace(first: int = FIRST_UID) -> sandbox.Host:
    """Do the same in a user namespace. Root needs one where hive keeps its own uid, although agents run without."""
    return await _try(None, first)


def is_sandbox_complaint(stderr: str) -> bool:
    """Return True if a program's messages may be those of the sandbox that did not start it.

    The program can write the same, so that only a trial proves it.
    """
    return re.search(r"^(?:bwrap|setpriv|hive): ", stderr, re.MULTILINE) is not None


async def _try(uid: int | None, first: int) -> sandbox.Host:
    require_proc()
    host, mine = sandbox.detect(), privilege(first)
    try:
        await run(sandbox.command(sandbox.Sandbox(uid=uid), ["/bin/sh", "-c", ":"], host), deadline=_SECONDS)
    except HiveError as error:
        cause = _Cause("", _CONTAINER) if uid else _cause(error.summary, mine)
        raise Refused(f"{cause.text} ({error.summary})" if cause.text else error.summary, cause.remedy) from error
    return host


@dataclass(frozen=True, slots=True)
class _Cause:
    text: str
    remedy: str


def _cause(complaint: str, mine: Privilege, proc: Path = Path("/proc")) -> _Cause:
    """Return why no user namespace could be made, or what is missing in it."""
    for name, forbids, text, remedy in _SWITCHES:
        try:
            value = (proc / "sys" / name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if value == forbids and (mine.uid != 0 or name.startswith("user/")):
            return _Cause(text, remedy if mine.host_root else f"{remedy}, or run hive as root")
    if "ENOSPC" in complaint:  # the limit of an outer namespace counts too, and cannot be read here
        return _Cause("no more user namespaces are allowed here", "raise user.max_user_namespaces of the host")
    if "mount proc" in complaint:
        return _Cause("parts of this container's /proc are hidden, so that no other can be mounted", _CONTAINER)
    if mine.uid == 0:
        return _Cause(mine.why, _CONTAINER)
    return _Cause("user namespaces are not allowed here", "allow them for this user, or run hive as root")

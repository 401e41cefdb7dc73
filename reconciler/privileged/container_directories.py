"""The directories of a container in hive's state and runtime directory: whose they are, and what they hold."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from meta.errors import Refused
from meta.names import MANAGER, AgentName
from reconciler.privileged import conf, directories, held, trees, values
from reconciler.privileged.command import Run
from reconciler.privileged.directories import Ownership
from reconciler.privileged.host import Host
from reconciler.privileged.protocol import OwnDirectory


def own(host: Host, request: OwnDirectory) -> None:
    """Make the directory of that kind, and give it to whom it belongs."""
    base, bind = request.uid_base, conf.directory(request.name, request.kind)
    daemon = frozenset({0, host.uid})
    parents = _of_the_daemon(host, 0o755 if request.kind == "proposed" else 0o711)
    if request.kind == "egress" and host.egress_uid is not None:
        # hive-egress makes its socket in it; an older hive's, which is the daemon's, keeps its inode and so its binds
        whose = (host.egress_uid, base)
        last = Ownership(*whose, 0o750, lambda uid, gid: (uid, gid) == whose, daemon | {host.egress_uid})
    elif bind.runtime:
        # the daemon makes sockets in it, and the setgid bit gives them to the container's group
        last = Ownership(host.uid, base, 0o2750, lambda uid, gid: (uid, gid) == (host.uid, base), daemon)
    elif request.kind == "pods":
        # The harness is in the group of the container's root, under each of its uids, and its CLI is not. It makes
        # the sockets; the daemon owns their directory, so it enters it and nobody inside changes its rights.
        last = Ownership(host.uid, base, 0o2770, lambda uid, gid: (uid, gid) == (host.uid, base), daemon)
    elif request.kind == "proposed":
        # the manager's harness writes it; the daemon, which is in none of its groups, reads it
        owner = base + values.HARNESS_UID
        _give_tree(host, bind.parts, parents, trees.Rules(_to_one((owner, base), daemon), mode=0o755))
        return
    else:
        last = Ownership(base, base, 0o700, lambda uid, gid: base <= uid < base + values.UIDS, daemon)
    directories.own(host.runtime if bind.runtime else host.state, bind.parts, parents, last)


def give_older(host: Host, name: AgentName, base: int) -> None:
    """Give what an older hive's container left in state and home to the same users in the new uid range.

    That container had the host's uids. Its root ran what the harness runs now, so root's files go to the harness.
    """
    rules = trees.Rules(_to_range(host, base), special=True, mode=0o700)
    for kind in ("state", "home"):
        _give_tree(host, conf.directory(name, kind).parts, _of_the_daemon(host, 0o711), rules)


def _give_tree(host: Host, parts: tuple[str, ...], parents: Ownership, rules: trees.Rules) -> None:
    with directories.made(host.state, parts, parents) as (fd, where):
        trees.give([trees.Tree(fd, where)], rules)


def _to_one(owner: tuple[int, int], from_uids: frozenset[int]) -> trees.Owners:
    """Give the files of `from_uids` to `owner`. Those of its container stay."""
    base = owner[1]

    def owners(uid: int, gid: int) -> tuple[int, int] | None:
        if base <= uid < base + values.UIDS:
            return uid, gid
        return owner if uid in from_uids else None

    return owners


def _to_range(host: Host, base: int) -> trees.Owners:
    """Give the files of root and the daemon to the harness, and every other uid of a container its place in the range.

    A uid of the range stays, so that a repetition changes nothing.
    """
    end = base + values.UIDS

    def moved(id: int, daemon: int) -> int | None:
        if id in (0, daemon, base):
            return base + values.HARNESS_UID
        if id < values.UIDS:
            return base + id
        return id if base <= id < end else None

    def owners(uid: int, gid: int) -> tuple[int, int] | None:
        if base < uid < end:
            return uid, gid
        new_uid, new_gid = moved(uid, host.uid), moved(gid, host.gid)
        return None if new_uid is None or new_gid is None else (new_uid, new_gid)

    return owners


def remove(host: Host, name: AgentName) -> None:
    """Remove what a container that is gone left. Its sockets are the daemon's."""
    for kind in ("state", "home", "pods", "proposed"):
        directories.remove(host.state, conf.directory(name, kind).parts)
    remove_way_out(host, name)


def remove_way_out(host: Host, name: AgentName) -> None:
    """Remove the directory of the way out. It may be hive-egress's, and then the daemon cannot."""
    directories.remove(host.runtime, conf.directory(name, "egress").parts)


def remove_pods(host: Host, name: AgentName) -> None:
    """Remove the directory of the pods' sockets. What the agent made too deep for it stays until the purge."""
    with contextlib.suppress(Refused):
        directories.remove(host.state, conf.directory(name, "pods").parts)


def measure(host: Host, run: Run, name: AgentName) -> Mapping[str, object]:
    """Count what the container holds: its root, state, home and pods; the manager's also the proposed trees.

    What is reached through a symlink is not counted: root would count what the daemon may not see.
    """
    places = [(host.state, conf.directory(name, kind).parts) for kind in ("state", "home", "pods")]
    places.append((Path(os.path.realpath(host.roots)), (name,)))
    if name == MANAGER:
        places.append((host.state, ("proposed",)))
    with contextlib.ExitStack() as stack:
        paths, refused = [], False
        for root, parts in places:
            try:
                fd = stack.enter_context(directories.present(root, parts))
            except Refused:
                refused = True
                continue
            if fd is not None:
                paths.append(f"/proc/{os.getpid()}/fd/{fd}/.")  # exactly the directory that was opened
        counted = held.count(run, paths, host.deadlines.measure)
    return asdict(replace(counted, complete=counted.complete and not refused))


def _of_the_daemon(host: Host, mode: int) -> Ownership:
    return Ownership(host.uid, host.gid, mode, lambda uid, gid: uid == host.uid, frozenset({0, host.uid}))

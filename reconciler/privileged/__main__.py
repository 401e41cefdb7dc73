"""hive-privileged: the root helper as a program, `python -I -m reconciler.privileged --uid 900 ...`.

Socket-activated (one listening socket, LISTEN_FDS=1), or with --socket PATH. On SIGTERM it ends after the running
requests.

`hive-privileged take-over` is another program: see `take_over.py`.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from meta.errors import BadInput, HiveError
from reconciler.privileged import idmap, take_over
from reconciler.privileged.host import Host, Programs
from reconciler.privileged.journal import Journal
from reconciler.privileged.server import Rules, Server
from reconciler.privileged.values import Bounds
from reconciler.privileged.verbs import Verbs

_FIRST_FD = 3
_BACKLOG = 64


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM. Return 2 if the options or the socket are wrong."""
    os.umask(0o022)
    words = sys.argv[1:] if argv is None else argv
    journal = Journal()
    if words and words[0] == take_over.COMMAND:
        return take_over.main(words[1:], journal)
    options = _parser().parse_args(words)
    try:
        host = _host(options)
        listener = _listener(options.socket, host)
    except HiveError as error:
        journal.write("cannot-start", error=error.summary, hint=error.hint)
        return 2
    rules = Rules(uid=host.uid, bounds=host.bounds, connections=options.connections, idle=options.idle)
    server = Server(listener, Verbs(host).perform, rules, journal)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    journal.write("serving", uid=host.uid, owner=host.owner, pid=os.getpid())
    server.serve()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hive-privileged", description="root's part of hive", allow_abbrev=False)
    parser.add_argument("--uid", type=int, required=True, help="the daemon's uid: the only one that may connect")
    parser.add_argument("--gid", type=int, help="the daemon's group (default: as its uid)")
    parser.add_argument("--egress-uid", type=int, help="hive-egress's uid (default: the daemon's)")
    parser.add_argument("--socket", type=Path, help="listen here instead of on the socket that systemd passes")
    parser.add_argument("--owner", default="hive", help="marks the containers of this hive")
    parser.add_argument("--etc", type=Path, default=Path("/etc/nixos-containers"))
    parser.add_argument("--store", default="/nix/store")
    parser.add_argument("--profiles", type=Path, default=Path("/nix/var/nix/profiles/per-container"))
    parser.add_argument("--state", type=Path, default=Path("/var/lib/hyperhive"), help="the daemon's state directory")
    parser.add_argument("--runtime", type=Path, default=Path("/run/hyperhive"), help="the daemon's runtime directory")
    parser.add_argument("--run", type=Path, default=Path("/run/systemd/system"), help="for drop-ins of units")
    parser.add_argument("--records", type=Path, default=Path("/var/lib/hive-privileged"), help="root's own notes")
    parser.add_argument("--credentials", type=Path, default=Path("/etc/hive/credentials.json"), help="the host's list")
    parser.add_argument("--uid-first", type=int, default=Bounds().uid_first, help="of the containers' ranges")
    parser.add_argument("--uid-last", type=int, default=Bounds().uid_last)
    parser.add_argument("--connections", type=int, default=8, help="at the same time")
    parser.add_argument("--idle", type=float, default=30.0, help="seconds for a request to arrive")
    for program in Programs.__dataclass_fields__:
        parser.add_argument(f"--{program.replace('_', '-')}", default=program.replace("_", "-"), help="the program")
    return parser


def _host(options: argparse.Namespace) -> Host:
    if (
        not 0 < options.uid_first <= options.uid_last < 2**32 - 1
        or options.uid_first <= options.uid <= options.uid_last
    ):
        raise BadInput("the uid range is empty, or holds the daemon's own uid", "see --uid-first and --uid-last")
    egress = options.egress_uid
    if egress is not None and (not 0 < egress < 2**32 - 1 or options.uid_first <= egress <= options.uid_last):
        raise BadInput(
            f"{egress} is no uid for hive-egress: it is root's, a container's or none", "give it a user of its own"
        )
    return Host(
        owner=options.owner,
        uid=options.uid,
        gid=options.uid if options.gid is None else options.gid,
        etc=options.etc,
        profiles=options.profiles,
        state=options.state,
        runtime=options.runtime,
        units=options.run,
        records=options.records,
        credentials=options.credentials,
        egress_uid=egress,
        bounds=Bounds(options.store, options.uid_first, options.uid_last),
        idmap=idmap.of_host(options.store),
        programs=Programs(**{key: getattr(options, key) for key in Programs.__dataclass_fields__}),
    )


def _listener(path: Path | None, host: Host) -> socket.socket:
    if path is not None:
        return _bound(path, host)
    if os.environ.pop("LISTEN_PID", "") != str(os.getpid()) or os.environ.pop("LISTEN_FDS", "") != "1":
        raise BadInput("no socket was passed", "start it by its socket unit, or with --socket PATH")
    try:
        listener = socket.socket(fileno=_FIRST_FD)
        sound = listener.family == socket.AF_UNIX and listener.type == socket.SOCK_STREAM
        listening = sound and listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        os.set_inheritable(_FIRST_FD, False)
    except OSError as error:
        raise BadInput(f"descriptor {_FIRST_FD} is not a socket: {error.strerror}") from error
    if not listening:
        raise BadInput("the socket that was passed is not a listening unix stream socket")
    return listener


def _bound(path: Path, host: Host) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        if path.exists() and stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
        listener.bind(str(path))
        os.chown(path, host.uid, host.gid, follow_symlinks=False)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise BadInput(f"cannot listen on {path}: {error.strerror}") from error
    finally:
        os.umask(before)
    return listener


if __name__ == "__main__":
    sys.exit(main())

"""bubblewrap command lines: a process with its own mounts, process ids, network, IPC and host name.

Inside are the system's programs (read-only), /proc, a minimal /dev, an empty /tmp and what the caller binds; nothing
else of the host. There is no /etc/passwd unless the caller binds one. The sandbox and every process inside end with the
process that started it.

A filter refuses the system calls that `meta/process/seccomp/table.py` lists. `meta/process/launcher.py` replaces what
would be inherited from the daemon's session, its keyring for example.

If root gives a uid, the program runs under that uid and can get no capabilities. Otherwise everything happens in a user
namespace, under the caller's own uid: for an ordinary user (`uid` is then not used), for root without a uid, and for a
root that cannot hand out uids. /proc shows what belongs to the sandbox; the host's settings in it are read-only, and
what it has of the host's memory, keys and timers is empty.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from meta.errors import Refused
from meta.process.privilege import privilege
from meta.process.seccomp.program import MACHINES, program

LAUNCHER = Path(__file__).resolve().parent / "launcher.py"
INSTALL_HINT = "on Debian: apt-get install bubblewrap; on NixOS: environment.systemPackages = [ pkgs.bubblewrap ]"

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/run/current-system")
_ETC = (
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/ca-trust/extracted",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/certs",
    "/etc/ca-certificates/extracted",
    "/etc/static/ssl",
    "/etc/os-release",
    "/etc/protocols",
    "/etc/services",
)
_PROC_READ_ONLY = ("sys", "sysrq-trigger", "irq", "bus", "fs", "mtrr")
"""Written here, by the host's root at least, they change the host: core_pattern is a program that it runs."""
_PROC_MASKED = (
    *("acpi", "asound", "scsi", "interrupts", "kallsyms", "kcore", "kmsg", "kpagecgroup", "kpagecount", "kpageflags"),
    *("key-users", "keys", "latency_stats", "sched_debug", "slabinfo", "timer_list", "timer_stats", "vmallocinfo"),
)
"""Files become /dev/null, directories empty. The other kernel surfaces of /proc belong to the sandbox's namespaces."""
_DROP = ("--inh-caps=-all", "--bounding-set=-all", "--no-new-privs")


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The contents of one sandbox. Binds are (path on the host, path inside); the inner of two nested ones wins.

    `links` are symlinks, (target, path inside). `env` is the whole environment inside. The host's process list shows
    it, so it must not hold secrets.
    `uid` is also the gid. With `network` the sandbox shares the host's network. With `nested` programs may make
    namespaces, and mounts in them, for a nix that sandboxes its builders.
    """

    read_only: tuple[tuple[Path, Path], ...] = ()
    writable: tuple[tuple[Path, Path], ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    uid: int | None = None
    network: bool = False
    hostname: str | None = None
    cwd: Path = Path("/")
    nested: bool = False
    links: tuple[tuple[str, Path], ...] = ()


@dataclass(frozen=True, slots=True)
class Host:
    """The facts that command lines depend on: programs, the caller's being root, the system's directories.

    `links` are (target, path). Each of `system` is bound read-only under its own name. `proc` are the options that
    close what of /proc is the host's. `root` is True if uids can be handed out. `launcher` is the command line that
    starts bubblewrap under a filter for `machine`; () for a command line that shows bubblewrap's part only.
    """

    bwrap: str
    setpriv: str
    root: bool
    links: tuple[tuple[str, str], ...] = ()
    system: tuple[str, ...] = field(default=("/usr",))
    proc: tuple[str, ...] = ()
    launcher: tuple[str, ...] = ()
    machine: str = "x86_64"


def available() -> str | None:
    """Return the path of bwrap; None if it is not installed."""
    return shutil.which("bwrap")


def detect() -> Host:
    """Return this host. Refused, with the remedy, if bubblewrap is missing or hive has no filter for the machine."""
    bwrap, machine = available(), os.uname().machine
    if bwrap is None:
        raise Refused(
            "bubblewrap (bwrap) is not installed, and hive does not open untrusted files without it", INSTALL_HINT
        )
    if machine not in MACHINES:
        raise Refused(f"hive has no filter of system calls for {machine}", f"run it on {' or '.join(MACHINES)}")
    paths = [Path(path) for path in _SYSTEM]
    return Host(
        bwrap=bwrap,
        setpriv=shutil.which("setpriv") or "setpriv",
        root=privilege().hands_out_uids,
        links=tuple((str(path.readlink()), str(path)) for path in paths if path.is_symlink()),
        system=tuple(str(path) for path in paths if path.is_dir() and not path.is_symlink())
        + tuple(path for path in _ETC if Path(path).exists()),
        proc=tuple(_closed_proc(Path("/proc"))),
        launcher=(sys.executable, "-I", "-S", str(LAUNCHER)),
        machine=machine,
    )


def _closed_proc(proc: Path) -> Iterator[str]:
    """Yield the options for what this host has of it; bubblewrap fails on a path that is not there."""
    for name in _PROC_READ_ONLY:
        if (proc / name).exists():
            yield from ("--ro-bind", f"/proc/{name}", f"/proc/{name}")
    for name in _PROC_MASKED:
        path = proc / name
        if path.is_dir():
            yield from ("--perms", "0555", "--tmpfs", f"/proc/{name}", "--remount-ro", f"/proc/{name}")
        elif path.exists():
            yield from ("--ro-bind", "/dev/null", f"/proc/{name}")


def command(sandbox: Sandbox, argv: Sequence[str | Path], host: Host | None = None) -> list[str]:
    """Return the argument list that runs `argv` in `sandbox`. Raise Refused if bubblewrap is missing. Pure if `host` is
    given.
    """
    here = host or detect()
    words = [
        *_launch(sandbox, here),
        here.bwrap,
        "--die-with-parent",
        "--new-session",
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-uts",
    ]
    if not sandbox.network:
        words += ["--unshare-net"]
    if not _changes_uid(sandbox, here):
        words += ["--unshare-user"]
    if sandbox.hostname is not None:
        words += ["--hostname", sandbox.hostname]
    words += _binds([("--ro-bind", Path(path), Path(path)) for path in here.system])
    for target, path in here.links:
        words += ["--symlink", target, path]
    words += ["--proc", "/proc", *here.proc, "--dev", "/dev"]
    for path in ("/dev/shm", "/tmp"):  # noqa: S108 (inside)
        words += ["--perms", "1777", "--tmpfs", path]
    words += _binds(
        [("--ro-bind", *pair) for pair in sandbox.read_only]
        + [("--bind", *pair) for pair in sandbox.writable]
        + [("--symlink", *pair) for pair in sandbox.links]
    )
    words += ["--remount-ro", "/", "--clearenv"]
    for key, value in sandbox.env:
        words += ["--setenv", key, value]
    words += ["--chdir", str(sandbox.cwd)]
    return [*words, *_inner(sandbox, here), *(str(word) for word in argv)]


def _launch(sandbox: Sandbox, host: Host) -> list[str]:
    if not host.launcher:
        return []
    return [*host.launcher, program(host.machine, nested=sandbox.nested).hex()]


def _changes_uid(sandbox: Sandbox, host: Host) -> bool:
    """Return False if it runs under the caller's own uid, which only a user namespace confines."""
    return host.root and bool(sandbox.uid)


def _binds(binds: Sequence[tuple[str, str | Path, Path]]) -> list[str]:
    words: list[str] = []
    created: set[Path] = set()
    for option, outside, inside in sorted(
        binds, key=lambda bind: len(bind[2].parts)
    ):  # a later outer bind would hide an inner one
        for parent in [parent for parent in reversed(inside.parents[:-1]) if parent not in created]:
            created.add(parent)
            words += ["--perms", "0755", "--dir", str(parent)]  # bwrap would create it with 0700
        words += [option, str(outside), str(inside)]
    return words


def _inner(sandbox: Sandbox, host: Host) -> list[str]:
    """Return the options for capabilities and, for root, the command that changes the user.

    bwrap itself cannot change to another uid without a user namespace, in which the uid would own nothing on the host.
    So setpriv does it, with only the capabilities for that.
    """
    if not _changes_uid(sandbox, host):
        return ["--cap-drop", "ALL", "--"]
    keep = [word for name in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP") for word in ("--cap-add", name)]
    user = ["--reuid", str(sandbox.uid), "--regid", str(sandbox.uid), "--clear-groups"]
    return ["--cap-drop", "ALL", *keep, "--", host.setpriv, *user, *_DROP, "--"]


def has(path: Path) -> bool:
    """Return True if every sandbox has `path`, which is resolved, under the same name."""
    return any(path.is_relative_to(folder) for folder in map(Path, _SYSTEM) if not folder.is_symlink())


def python_closure() -> tuple[Path, ...]:
    """Return the directories that a Python program of this installation needs in a sandbox, beyond the system's.

    These are the virtual environment, the Python it was made from, and the packages `harness` and `meta`. An editable
    install leaves those two in a checkout; nothing else of the checkout is included.
    """
    wanted = {Path(path) for path in (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)}
    wanted.add(Path(sys.executable).resolve().parent)
    for name in ("harness", "meta"):
        spec = importlib.util.find_spec(name)
        wanted.update(Path(place) for place in (spec.submodule_search_locations if spec else None) or ())
    covered = [Path(path) for path in _SYSTEM]
    return tuple(
        path
        for path in sorted(wanted)
        if not any(path.is_relative_to(outer) for outer in covered)
        and not any(path.is_relative_to(other) and path != other for other in wanted)
    )

"""A host with systemd as its first process, on an overlay of this machine: booted in half a second, thrown away after.

Inside: the root helper by its socket, container@.service as NixOS has it, stand-ins for nixos-container and nix-env.
systemd, D-Bus and nspawn are the real ones. If this machine has version 1 controllers, limits are enforced. With a real
nix (see nixhost) there is a nix daemon with an empty store as well, and only nixos-container is a stand-in.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.systemd import nixhost

REPO = Path(__file__).resolve().parents[3]
FILES = Path(__file__).resolve().parent / "files"
HOME = Path("/srv/hive-host")
"""The directory of the tests inside of the host: libexec, store, and the daemon's state directory."""

STORE = HOME / "store"
"""The directory of stand-in systems."""

USER = 64990
"""The uid of a daemon that is not root. It has its own helper and state directory."""

INSIDE = "HIVE_SYSTEMD_HOST"
"""Set in the environment of programs inside the host."""

BOOT_SECONDS = 30.0
STOP_SECONDS = 30.0
_MASKED = (
    "systemd-firstboot.service",
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-timesyncd.service",
    "console-getty.service",
    "getty.target",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
)
_HIERARCHIES = ("cpu", "cpuacct", "memory", "pids", "blkio", "devices", "freezer", "systemd", "unified")


def missing() -> str | None:
    """Return why this machine cannot have such a host, or None."""
    if os.geteuid() != 0:
        return "needs root, to boot a systemd host"
    for program, package in (("systemd-nspawn", "systemd-container"), ("nsenter", "util-linux")):
        if shutil.which(program) is None:
            return f"{program} is not installed (apt-get install {package})"
    return None


class SystemdHost:
    """One host. `boot` and `halt` may be repeated: its disk stays until `remove`.

    With `nix` systems are built and hive is a unit. Without it systems are stand-ins. `system` holds the files that the
    host has instead of this machine's (newer.py).
    """

    def __init__(self, folder: Path, nix: nixhost.Nix | None = None, system: Path = Path("/")) -> None:
        self._folder = folder
        self._nix = nix
        self._system = system
        self._name = f"hivehost-{secrets.token_hex(3)}"
        self._process: subprocess.Popen[bytes] | None = None
        self.root = folder / "root"
        self.leader = 0
        self._pidfd = -1

    def make(self) -> None:
        """Make the host's disk: this machine's files, with other units. Everything written stays in memory."""
        _call("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", self._folder)
        for name in ("upper", "work", "root", "store"):
            (self._folder / name).mkdir()
        nixhost.hide_store(self._folder / "upper", self._nix.programs if self._nix else nixhost.programs())
        options = f"lowerdir={self._system},upperdir={self._folder / 'upper'},workdir={self._folder / 'work'}"
        _call("mount", "-t", "overlay", "hive-host", "-o", options, self.root)
        self._clear()
        self._install()
        if self._nix is not None:
            nixhost.install(self.root, self._nix)

    def _clear(self) -> None:
        units = self.root / "etc/systemd/system"
        for wants in units.glob("*.wants"):
            shutil.rmtree(wants)
        (self.root / "etc/fstab").unlink(missing_ok=True)
        for folder in ("var/log/journal", "nix/var/nix/profiles/per-container"):
            shutil.rmtree(self.root / folder, ignore_errors=True)
            (self.root / folder).mkdir(parents=True)
        (self.root / "etc/hostname").write_text("hive-host\n")
        (self.root / "etc/machine-id").unlink(missing_ok=True)
        (self.root / "etc/machine-id").write_text(f"{secrets.token_hex(16)}\n")
        for unit in _MASKED:
            _link(units / unit, "/dev/null")
        _link(units / "default.target", "/lib/systemd/system/multi-user.target")
        generators = self.root / "etc/systemd/system-generators"
        generators.mkdir(parents=True, exist_ok=True)
        for generator in (self.root / "usr/lib/systemd/system-generators").iterdir():
            _link(generators / generator.name, "/dev/null")

    def _open_up(self) -> None:
        """Open the directories above the checkout, in the overlay only, so that the daemon's user can reach the
        checkout.
        """
        for place in (REPO, Path(sys.prefix)):
            for folder in place.parents[:-1]:
                if self._own and not _in_tmp(folder) and folder.stat().st_mode & 0o001 == 0:
                    (self.root / folder.relative_to("/")).chmod(folder.stat().st_mode & 0o7777 | 0o011)

    def _install(self) -> None:
        self._open_up()
        home, units = self.root / HOME.relative_to("/"), self.root / "etc/systemd/system"
        for name in ("libexec", "store", "state", "user"):
            (home / name).mkdir(parents=True)
        os.chown(home / "user", USER, USER)
        for table, line in (("passwd", f"hive-test:x:{USER}:{USER}::/:/bin/false"), ("group", f"hive-test:x:{USER}:")):
            with (self.root / "etc" / table).open("a") as file:  # the system bus turns away whom it does not know
                file.write(f"{line}\n")
        (self.root / "etc/nixos-containers").mkdir(exist_ok=True)
        for path in FILES.iterdir():
            if path.suffix in (".service", ".socket"):
                (units / path.name).write_text(self._filled(path.read_text()))
            else:
                shutil.copy(path, home / "libexec" / path.name)
        (units / "hive-harness.service").unlink()
        (units / "sockets.target.wants").mkdir()
        for name in ("hive-privileged.socket", "hive-privileged-user.socket", "nix-daemon.socket"):
            if self._nix is not None or name != "nix-daemon.socket":
                _link(units / "sockets.target.wants" / name, f"../{name}")

    def _filled(self, text: str) -> str:
        values = {"python": sys.executable, "uid": str(USER)}
        if self._nix is None:
            values |= {"store": str(STORE)}
        else:
            values |= {"store": "/nix/store", "nix": str(self._nix.programs)}
        for key, value in values.items():
            text = text.replace(f"@{key}@", value)
        return text

    def boot(self) -> float:
        """Start the host. Return the seconds until its systemd reported that it is ready."""
        begun = time.monotonic()
        words: list[str | Path] = [
            FILES / "enter",
            self._name,
            "systemd-nspawn",
            "--register=no",
            "--keep-unit",
            "--notify-ready=yes",
        ]
        words += ["--kill-signal=SIGRTMIN+3", "-D", self.root, "-M", self._name, "--private-network"]
        words += ["--capability=all", "--system-call-filter=@keyring bpf @mount", "--console=read-only"]
        # on no overlay, which could not be mounted with mapped owners; kept until the host is removed
        words += [f"--bind={self._folder / 'store'}:{STORE}"]
        words += [*self._devices(), *self._checkout(), HOME / "libexec/host-init"]
        environment = {
            **os.environ,
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "0" if self._has_limits else "1",
            "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "yes",
            "NOTIFY_SOCKET": str(self._folder / "ready"),
        }
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready,
            (self._folder / "console").open("ab") as console,
        ):
            ready.bind(environment["NOTIFY_SOCKET"])
            ready.settimeout(BOOT_SECONDS)
            self._process = subprocess.Popen(
                words, env=environment, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
            )
            try:
                self._await_ready(ready)
            finally:
                (self._folder / "ready").unlink()
        return time.monotonic() - begun

    @property
    def _own(self) -> bool:
        """Whether the host has this machine's files."""
        return self._system == Path("/")

    @property
    def _has_limits(self) -> bool:
        """Whether version 1 controllers enforce limits. No systemd after 255 boots on those."""
        return self._own and Path("/sys/fs/cgroup/memory").is_dir()

    def _checkout(self) -> list[str]:
        """Return the options that bind the checkout and its Python if the host would not see them: it has a /tmp of its
        own.
        """
        places = dict.fromkeys((REPO, Path(sys.prefix), Path(sys.base_prefix)))
        return [f"--bind-ro={place}" for place in places if _in_tmp(place) or not self._own]

    def _devices(self) -> list[str]:
        return [f"--bind={path}" for path in ("/dev/fuse", "/dev/net/tun") if Path(path).exists()]

    def _await_ready(self, ready: socket.socket) -> None:
        """Wait until the host is ready. nspawn passes on the messages of the host's systemd, and adds its identity."""
        while True:
            try:
                lines = ready.recv(4096).decode().splitlines()
            except TimeoutError as error:
                raise AssertionError(f"the host did not boot:\n{self.console()}") from error
            for line in lines:
                key, _, value = line.partition("=")
                if key == "X_NSPAWN_LEADER_PID":
                    self.leader = int(value)
                    self._pidfd = os.pidfd_open(self.leader)
            if "READY=1" in lines:
                return

    def console(self) -> str:
        """Return the host's output on its console."""
        return (self._folder / "console").read_text(errors="replace")[-4000:]

    def run(
        self, argv: Sequence[str], *, seconds: float = 60.0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside, in the repo. Its output is text; stderr is in stdout."""
        return subprocess.run(
            self._words(argv),
            env=_environment(env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )

    def show(self, argv: Sequence[str], *, seconds: float) -> int:
        """Run a program inside whose output goes to the caller's own output. Return its exit code."""
        done = subprocess.run(self._words(argv), env=_environment({}), stdin=subprocess.DEVNULL, timeout=seconds)
        return done.returncode

    def _words(self, argv: Sequence[str]) -> list[str]:
        return ["nsenter", "-t", str(self.leader), "-a", "env", "-C", str(REPO), *argv]

    def halt(self, *, kill: bool = False) -> None:
        """Shut the host down in good order, or cut its power. Return when none of its processes is left."""
        process, self._process = self._process, None
        if process is None:
            return
        pidfd, self._pidfd = self._pidfd, -1
        process.send_signal(signal.SIGKILL if kill or pidfd < 0 else signal.SIGTERM)
        if pidfd >= 0:
            if kill or not _ended(pidfd, STOP_SECONDS):
                process.kill()
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            ended = _ended(pidfd, STOP_SECONDS)  # the first process of a pid namespace ends after all others
            os.close(pidfd)
            assert ended, "the host does not end although it was killed"
        process.wait(STOP_SECONDS)

    def remove(self) -> None:
        """End the host, and remove all its files."""
        self.halt(kill=True)
        for mount in (self.root, self._folder):
            subprocess.run(["umount", "--lazy", str(mount)], stdin=subprocess.DEVNULL, timeout=30)
        for hierarchy in _HIERARCHIES:
            top = Path("/sys/fs/cgroup") / hierarchy / self._name
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
            if top.is_dir():
                raise AssertionError(f"something of the host is left in {top}")


def _ended(pidfd: int, seconds: float) -> bool:
    """Wait for the end of a process."""
    return bool(select.select([pidfd], [], [], seconds)[0])


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": "/root", INSIDE: "1", **more}


def _link(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _call(*argv: str | Path) -> None:
    subprocess.run([str(word) for word in argv], check=True, stdin=subprocess.DEVNULL, timeout=30)


def _in_tmp(path: Path) -> bool:
    return path.is_relative_to("/tmp")

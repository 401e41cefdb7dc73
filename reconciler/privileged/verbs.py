"""The verbs, carried out as root.

Each is idempotent. A container without this hive's marker is refused and never touched. `create` and `destroy` call
nixos-container with a system path: root evaluates nothing. Everything else is a file of a fixed template, `nix-env
--set` of a store path, or systemctl on the container's unit.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from meta.errors import BadInput, NotFound, PermanentError, Refused, TransientError
from meta.names import MANAGER, AgentName
from reconciler.privileged import conf, container_directories, credentials, directories, files, values
from reconciler.privileged.command import Ended, Run, run
from reconciler.privileged.conf import Conf, Credential, Written
from reconciler.privileged.host import Host
from reconciler.privileged.protocol import (
    Create,
    Destroy,
    Logs,
    Measure,
    OwnDirectory,
    RemoveDirectories,
    Request,
    SetSystem,
    Start,
    Stop,
    WriteSettings,
)
from reconciler.privileged.units import Units
from reconciler.privileged.values import Settings

_LOCK_SECONDS = 30.0
_DESTROY_GRACE = 10.0
_FOLLOWED = ("usr/bin", "etc/machine-id", "var/lib/private", "root")
"""What NixOS' start script makes or changes in a container's root, as the host's root and through symlinks."""


class Verbs:
    """Carries out requests. Safe for threads: one request per name at a time."""

    def __init__(self, host: Host, run: Run = run, units: Units | None = None) -> None:
        self._host = host
        self._run = run
        self._units = units or Units(host, run)
        self._locks = _Locks()
        self._measures = _Locks()

    def perform(self, request: Request) -> Mapping[str, object]:
        """Carry out one request and return the data of its answer. Raise HiveError."""
        if isinstance(request, Measure):  # it may take long, changes nothing, and so delays no other verb
            with self._measures.held(request.name):
                return container_directories.measure(self._host, self._run, request.name)
        with self._locks.held(request.name):
            match request:
                case Create():
                    self._create(request)
                case SetSystem():
                    self._set_system(request)
                case WriteSettings():
                    self._write_settings(request)
                case Start():
                    self._start(request.name)
                case Stop():
                    self._stop(request)
                case Destroy():
                    self._destroy(request.name)
                case OwnDirectory():
                    container_directories.own(self._host, request)
                case RemoveDirectories():
                    self._remove_directories(request.name)
                case Logs():
                    return self._logs(request)
        return {}

    def _create(self, request: Create) -> None:
        system, name = self._system(request.system), request.name
        written = self._read(name)
        if written is None:
            written = self._make(name, system)
        if self._is_of_older(written, name):
            container_directories.give_older(self._host, name, request.uid_base)
        if written.owner is not None:
            if not self._host.profile(name).is_symlink():
                self._set_profile(name, system)
            return
        self._set_profile(name, system)
        settings = Settings("agent", request.uid_base)
        self._write_conf(name, Conf(self._host.owner, settings, system))
        files.remove(self._host.creating(name))

    def _make(self, name: AgentName, system: str) -> Written:
        files.write(self._host.creating(name), f"{system}\n")
        argv = (self._host.programs.nixos_container, "create", name, "--system-path", system)
        ended = self._run(argv, deadline=self._host.deadlines.create)
        written = self._read(name)
        if written is None:
            files.remove(self._host.creating(name))
            raise _failed("nixos-container create", ended)
        if ended.code != 0:
            raise _failed("nixos-container create", ended)
        return written

    def _set_system(self, request: SetSystem) -> None:
        system = self._system(request.system)
        written = self._ours(request.name)
        if written.settings is None:
            raise Refused(f"the settings of {request.name} cannot be read", "write-settings repairs them")
        self._set_profile(request.name, system)
        self._write_conf(request.name, Conf(self._host.owner, written.settings, system))

    def _write_settings(self, request: WriteSettings) -> None:
        name, settings = request.name, request.settings
        if (settings.role == "manager") != (name == MANAGER):
            raise Refused(f"{name} cannot have the role {settings.role}")
        written = self._ours(name)
        self._write_conf(name, Conf(self._host.owner, settings, written.system))
        # an earlier helper may have died after it wrote the file and before the reload
        self._write_limits(name, settings, reload=self._units.needs_reload(name))

    def _start(self, name: AgentName) -> None:
        written = self._ours(name)
        if written.settings is None or written.fingerprint is None:
            raise Refused(f"the conf of {name} was edited", "write-settings repairs it")
        if written.system is None:
            raise Refused(f"{name} has no system", "set-system gives it one")
        self._system(written.system)
        for bind in conf.binds(name, written.settings.role):
            directories.require(self._host.runtime if bind.runtime else self._host.state, bind.parts)
        for path in _FOLLOWED:  # while it does not run, nothing inside can change this
            directories.refuse_links(self._host.roots / name, tuple(path.split("/")))
        # an older hive may have written it, without what a newer host's start script or systemd needs
        passed = self._credentials(name, written.system)
        self._write_conf(name, Conf(self._host.owner, written.settings, written.system, passed))
        self._write_limits(name, written.settings)  # they lie in /run, which a reboot empties
        self._units.start(name)

    def _credentials(self, name: AgentName, system: str) -> tuple[Credential, ...]:
        """Return what this start passes on: the configuration and the files may be others than at the last one."""
        store, root = self._host.bounds.store, os.geteuid()
        ids = credentials.needed(system, store)
        if not ids:  # a fault in the list is none of its concern
            return ()
        own = credentials.given(self._host.credentials, root).get(name, {})
        return credentials.for_start(name, own, ids, store, root)

    def _stop(self, request: Stop) -> None:
        written = self._read(request.name)
        if written is not None and (written.owner is not None or self._is_of_older(written, request.name)):
            self._units.stop(request.name, request.grace)  # else there is nothing that could run

    def _destroy(self, name: AgentName) -> None:
        if self._read(name) is not None:
            self._units.stop(name, _DESTROY_GRACE)
            argv = (self._host.programs.nixos_container, "destroy", name)
            ended = self._run(argv, deadline=self._host.deadlines.destroy)
            if ended.code != 0 or files.read(self._host.conf(name)) is not None:
                raise _failed("nixos-container destroy", ended)
        container_directories.remove_way_out(self._host, name)
        container_directories.remove_pods(self._host, name)
        files.remove(self._host.creating(name))
        if files.remove(self._host.limits(name)):
            with contextlib.suppress(OSError):  # a drop-in that hive did not write keeps the folder
                self._host.limits(name).parent.rmdir()
            self._units.reload()

    def _remove_directories(self, name: AgentName) -> None:
        if name == MANAGER:
            raise Refused(f"{name} cannot be purged")
        if self._read(name) is not None:
            raise Refused(f"{name} still has a container", "destroy it first")
        container_directories.remove(self._host, name)

    def _logs(self, request: Logs) -> Mapping[str, object]:
        self._ours(request.name)
        lines, cursor = self._units.logs(request.name, request.lines, request.cursor, request.since)
        return {"lines": lines, "cursor": cursor}

    def _read(self, name: AgentName) -> Written | None:
        """Return the conf, or None. Its `owner` is None only for a container that an interrupted create left without a
        marker, and for one of an older hive with this state directory.
        """
        text = files.read(self._host.conf(name))
        if text is None:
            return None
        written = conf.read_back(text, self._host.bounds)
        unmarked_but_ours = written.owner is None and (self._creating(name, text) or self._is_of_older(written, name))
        if written.owner != self._host.owner and not unmarked_but_ours:
            raise Refused(f"the container {name} is not this hive's", "choose another name, or remove it by hand")
        return written

    def _is_of_older(self, written: Written, name: AgentName) -> bool:
        return conf.is_of_older(written, name, self._host.places.state)

    def _creating(self, name: AgentName, text: str) -> bool:
        """Return True if a create of this helper left this unmarked container: it has the system noted then, or none
        yet.

        A container that a person made meanwhile has another system: in its own profile, or as a path in its conf.
        """
        noted = files.read(self._host.creating(name))
        if noted is None or "SYSTEM_PATH" in text:
            return False
        profile = self._host.profile(name)
        return not os.path.lexists(profile) or os.path.realpath(profile) == os.path.realpath(noted.strip())

    def _ours(self, name: AgentName) -> Written:
        written = self._read(name)
        if written is None or written.owner is None:
            raise NotFound(f"there is no container {name}", "create makes it")
        return written

    def _system(self, path: str) -> str:
        """Return `path` if it is a system: a directory of the store's owner, directly in the store, with `init`."""
        store = Path(os.path.realpath(self._host.bounds.store))
        real = Path(os.path.realpath(path))
        try:
            sound = real.parent == store and real.is_dir() and real.lstat().st_uid == store.stat().st_uid
            values.system(f"{self._host.bounds.store}/{real.name}", self._host.bounds)
        except (OSError, BadInput):
            sound = False
        if not sound or not os.path.lexists(real / "init"):
            raise Refused(f"{path} is not a system in the store", "build it first; it needs a file `init`")
        return path

    def _set_profile(self, name: AgentName, system: str) -> None:
        profile = self._host.profile(name)
        try:
            profile.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError as error:
            raise TransientError(f"cannot make {profile.parent}: {error.strerror}") from error
        argv = (self._host.programs.nix_env, "-p", str(profile), "--set", system)
        ended = self._run(argv, deadline=self._host.deadlines.switch)
        if ended.code != 0:
            raise _failed("nix-env --set", ended)

    def _write_conf(self, name: AgentName, wanted: Conf) -> None:
        text = conf.render(name, wanted, self._host.places)
        if files.read(self._host.conf(name)) != text:
            files.write(self._host.conf(name), text)

    def _write_limits(self, name: AgentName, settings: Settings, *, reload: bool = False) -> None:
        text = conf.render_limits(self._host.owner, settings)
        if files.read(self._host.limits(name)) != text:
            files.write(self._host.limits(name), text)
            reload = True
        if reload:
            self._units.reload()


def _failed(what: str, ended: Ended) -> PermanentError:
    return PermanentError(f"{what} failed with code {ended.code}: {ended.last_line}")


class _Locks:
    """One lock per name, kept only while a request holds it or waits for it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._users: dict[AgentName, tuple[threading.Lock, int]] = {}

    @contextlib.contextmanager
    def held(self, name: AgentName) -> Iterator[None]:
        """Hold the lock of `name`. Raise TransientError if another request for it takes too long."""
        with self._guard:
            lock, users = self._users.get(name, (threading.Lock(), 0))
            self._users[name] = lock, users + 1
        try:
            if not lock.acquire(timeout=_LOCK_SECONDS):
                raise TransientError(f"another request for {name} is still running", retry_after=5.0)
            try:
                yield
            finally:
                lock.release()
        finally:
            with self._guard:
                lock, users = self._users[name]
                self._users[name] = lock, users - 1
                if users == 1:
                    del self._users[name]

"""The paths to the daemon: its state and runtime directory, from options, HIVE_* variables, or the defaults.

both given               as given
only --state             runtime is STATE/run (/run/hyperhive for /var/lib/hyperhive), whatever HIVE_RUNTIME is
only --runtime           state as below; for the requests to a daemon only the sockets count
neither                  HIVE_STATE and HIVE_RUNTIME, which count as the options do; without them
                         ./.hive and ./.hive/run if ./.hive exists (`hive serve` creates it),
                         else /var/lib/hyperhive and /run/hyperhive

Nothing of another user is believed: both directories, the way to them and the sockets belong to the caller, to root, or
to the system's service account that root gave the directory to (as NixOS does).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from api.sockets.listener import connect
from api.sockets.principals import peer_uid
from meta.errors import BadInput, Refused
from meta.process import ownership
from meta.process.ownership import Trusted
from meta.text import command_line

SYSTEM_STATE = Path("/var/lib/hyperhive")
SYSTEM_RUNTIME = Path("/run/hyperhive")
LOCAL_STATE = Path(".hive")
GIVEN_AWAY = frozenset({"agents", "proposed", "push", "generations", "nix", "quarantine", "scratch", "run"})
"""Folders of the state directory in which agents, pushers and builds have files; what reads there expects the worst."""


@dataclass(frozen=True, slots=True)
class Where:
    """The absolute state and runtime directories of one daemon. `trusted` are the uids whose files the caller uses."""

    state: Path
    runtime: Path
    trusted: Trusted = field(default_factory=Trusted.caller, compare=False)

    @property
    def http(self) -> Path:
        """The operator's HTTP socket."""
        return self.runtime / "http.sock"

    def require_own(self) -> None:
        """Raise Refused if a directory, what lies in the state directory, or a socket is another user's."""
        for path in (self.state, self.runtime):
            ownership.require_own(path, self.trusted)
        ownership.require_own_entries(self.state, self.trusted)
        for path in (self.http, self.runtime / "host.sock"):
            ownership.require_own_file(path, self.trusted)

    def require_own_files(self) -> None:
        """Raise Refused if the caller may not read the files there as its own: git obeys what it finds in a repo.

        Root does not read those of a service account, which could be led to run programs as root.
        """
        owner = ownership.service_of(self.state, Trusted.caller())
        if owner is not None and self.trusted.uid == 0:
            raise Refused(
                f"{self.state} belongs to uid {owner}, and root does not work in it",
                f"do it as that user: {command_line('sudo', '-u', f'#{owner}', 'hive', '...', *self.options())}",
            )
        ownership.require_own_tree(self.state, self.trusted, GIVEN_AWAY)

    def connect(self, sock: socket.socket, path: Path) -> None:
        """Connect to a socket of the daemon. OSError; Refused if another user's process listens there."""
        connect(sock, path)
        uid = peer_uid(sock)
        if uid not in self.trusted:
            raise Refused(
                f"uid {uid} listens on {path}, not the daemon of uid {self.trusted.uid} or of root",
                "run this as the user that runs hive",
            )

    def options(self) -> tuple[str, ...]:
        """Return the options with which a command finds this daemon, in this shell and in one without HIVE_*."""
        full = ("--state", str(self.state), "--runtime", str(self.runtime))
        for words in ((), full[:2]):
            state = words[1] if words else None
            environments: tuple[Mapping[str, str], ...] = (os.environ, {})
            places = {_choose(state, None, environment) for environment in environments}
            if places == {(self.state, self.runtime)}:
                return words
        return full

    def serve_command(self) -> str:
        """Return the command that starts this daemon. Without a system-wide hive it is one for ./.hive."""
        absent = self.state == SYSTEM_STATE and not self.state.exists()
        return command_line("hive", "serve", *(() if absent else self.options()))


def find(state: str | None, runtime: str | None, *, serving: bool = False) -> Where:
    """Return the directories for the values of --state and --runtime (None: not given).

    Raises Refused if they are another user's.
    """
    chosen, sockets = _choose(state, runtime, os.environ, serving=serving)
    trusted = Trusted.caller()
    for owner in (ownership.service_of(path, trusted) for path in (chosen, sockets)):
        trusted = trusted.also(owner) if owner is not None else trusted
    where = Where(chosen, sockets, trusted)
    where.require_own()
    return where


def _choose(
    state: str | None, runtime: str | None, environment: Mapping[str, str], *, serving: bool = False
) -> tuple[Path, Path]:
    """Return the state and the runtime directory.

    HIVE_RUNTIME belongs to HIVE_STATE: with another state directory it would lead to another daemon.
    """
    if not state:
        state, runtime = environment.get("HIVE_STATE"), runtime or environment.get("HIVE_RUNTIME")
    if state:
        chosen = _absolute(state)
    elif LOCAL_STATE.is_dir() or serving:
        chosen = _absolute(LOCAL_STATE)
    else:
        chosen = SYSTEM_STATE
    return chosen, _absolute(runtime) if runtime else _runtime_of(chosen)


def _absolute(path: str | Path) -> Path:
    try:
        return Path(path).absolute()
    except FileNotFoundError as error:
        raise BadInput("the working directory is gone", "cd to another, or give --state an absolute path") from error


def _runtime_of(state: Path) -> Path:
    return SYSTEM_RUNTIME if state == SYSTEM_STATE else state / "run"

"""The paths to the daemon: its state and runtime directory, from options, HIVE_* variables, or the defaults.

both given               as given
only --state             runtime is STATE/run (/run/hyperhive for /var/lib/hyperhive)
neither                  ./.hive and ./.hive/run if ./.hive exists (`hive serve` creates it),
                         else /var/lib/hyperhive and /run/hyperhive

Nothing of another user is believed: both directories, the way to them and the sockets belong to the caller, to root, or
to the system's service account that root gave the directory to (as NixOS does).
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path

from api.sockets.listener import connect
from api.sockets.principals import peer_uid
from meta.errors import BadInput, Refused
from meta.process import ownership
from meta.process.ownership import Trusted

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
                f"do it as that user: sudo -u '#{owner}' --preserve-env=HIVE_STATE,HIVE_RUNTIME hive ...",
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

    def serve_command(self) -> str:
        """Return the command that starts this daemon. Without a system-wide hive it is one for ./.hive."""
        if (LOCAL_STATE.is_dir() and self.state == LOCAL_STATE.absolute()) or (
            self.state == SYSTEM_STATE and not self.state.exists()
        ):
            return "hive serve"
        command = f"hive serve --state {self.state}"
        return command if self.runtime == _runtime_of(self.state) else f"{command} --runtime {self.runtime}"


def find(state: str | None, runtime: str | None, *, serving: bool = False) -> Where:
    """Return the directories for the values of --state and --runtime (None or empty: not given).

    Raises Refused if they are another user's.
    """
    if state:
        chosen = _absolute(state)
    elif LOCAL_STATE.is_dir() or serving:
        chosen = _absolute(LOCAL_STATE)
    else:
        chosen = SYSTEM_STATE
    sockets = _absolute(runtime) if runtime else _runtime_of(chosen)
    trusted = Trusted.caller()
    for owner in (ownership.service_of(path, trusted) for path in (chosen, sockets)):
        trusted = trusted.also(owner) if owner is not None else trusted
    where = Where(chosen, sockets, trusted)
    where.require_own()
    return where


def _absolute(path: str | Path) -> Path:
    try:
        return Path(path).absolute()
    except FileNotFoundError as error:
        raise BadInput("the working directory is gone", "cd to another, or give --state an absolute path") from error


def _runtime_of(state: Path) -> Path:
    return SYSTEM_RUNTIME if state == SYSTEM_STATE else state / "run"

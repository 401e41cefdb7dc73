"""The nix store: its directories, its writer, and the paths of locked inputs in it.

A store is `direct` if the caller writes it (single-user); otherwise a nix daemon does. With a daemon an evaluation
needs no rights, so it can run as a user that has none.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_STORE, _STATE, _LOG, _CONF = Path("/nix/store"), Path("/nix/var/nix"), Path("/nix/var/log/nix"), Path("/etc/nix")
_PASSED_ON = (
    "NIX_STORE_DIR",
    "NIX_STATE_DIR",
    "NIX_LOCALSTATE_DIR",
    "NIX_LOG_DIR",
    "NIX_CONF_DIR",
    "NIX_REMOTE",
    "NIX_DAEMON_SOCKET_PATH",
    "NIX_SSL_CERT_FILE",
)
_DIGITS = "0123456789abcdfghijklmnpqrsvwxyz"


@dataclass(frozen=True, slots=True)
class Store:
    """The directories of a store. `socket` is the nix daemon's; None if the caller writes the store.

    `environment` are the variables that make nix use it.
    """

    store: Path = _STORE
    state: Path = _STATE
    logs: Path = _LOG
    conf: Path = _CONF
    socket: Path | None = None
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def direct(self) -> bool:
        """Return True if the caller writes the store itself."""
        return self.socket is None

    def input_path(self, nar_hash: str) -> Path | None:
        """Return the path of the input with this `narHash` of a flake.lock; None for a hash of another kind."""
        kind, _, encoded = nar_hash.partition("-")
        try:
            digest = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            return None
        if kind != "sha256" or len(digest) != 32:
            return None
        text = f"source:sha256:{digest.hex()}:{self.store}:source"
        return self.store / f"{_base32(_fold(hashlib.sha256(text.encode()).digest()))}-source"


def locate(environment: Mapping[str, str]) -> Store:
    """Return the store of a process with this environment. It uses a nix daemon if one listens.

    Empty variables count as unset: nix 2.8 aborts on an empty NIX_STORE_DIR.
    """
    given = {name: environment[name] for name in _PASSED_ON if environment.get(name)}
    state = Path(given.get("NIX_STATE_DIR", _STATE))
    socket = Path(given.get("NIX_DAEMON_SOCKET_PATH", state / "daemon-socket" / "socket"))
    remote = given.get("NIX_REMOTE", "")
    if remote.startswith("unix://"):
        socket = Path(remote.removeprefix("unix://"))
    uses_daemon = remote.startswith(("daemon", "unix://")) or (not remote and socket.is_socket())
    if uses_daemon and not remote:
        given["NIX_REMOTE"] = "daemon"  # otherwise root would write the store itself
    return Store(
        store=Path(given.get("NIX_STORE_DIR", _STORE)),
        state=state,
        logs=Path(given.get("NIX_LOG_DIR", _LOG)),
        conf=Path(given.get("NIX_CONF_DIR", _CONF)),
        socket=socket if uses_daemon else None,
        environment=tuple(sorted(given.items())),
    )


def _fold(digest: bytes) -> bytes:
    """Shorten a hash to 20 bytes as nix does."""
    short = bytearray(20)
    for index, byte in enumerate(digest):
        short[index % 20] ^= byte
    return bytes(short)


def _base32(data: bytes) -> str:
    """Encode in nix's base 32: little-endian, the highest digit first, without e, o, t and u."""
    number = int.from_bytes(data, "little")
    length = (len(data) * 8 + 4) // 5
    return "".join(_DIGITS[number >> (5 * place) & 31] for place in reversed(range(length)))

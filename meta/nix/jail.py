"""What nix may see while it works on an agent's files.

Pure evaluation stops `readFile "/etc/shadow"`, but not `fetchGit` of any git repository that its user can read, nor a
download by hash. So an evaluation sees the store, its own cache, and the repositories it is given; it has no network.
Every input was fetched when the flake was locked.

A nix that writes the store directly marks what it is busy with by its process id, which is the same in every jail: do
not collect garbage in such a store while hive builds. With a nix daemon that does not concern us.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from meta.nix.store import Store
from meta.process import sandbox
from meta.process.privilege import privilege

NOBODY = 65_534
_NETWORK = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf")
_PATH = "/run/current-system/sw/bin:/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one evaluation works on and may use.

    `flake` is a flake URL without fragment; `visible` are the git directories it may read; `home` is a directory of
    its own for nix's caches, made when missing. `deadline` in seconds, `memory` in bytes of address space.
    `isolated` False runs it without bubblewrap. `uid`: run as this user where a nix daemon writes the store and
    the caller is root.
    """

    flake: str
    visible: tuple[Path, ...]
    home: Path
    deadline: float = 60.0
    memory: int = 4 * 2**30
    isolated: bool = True
    uid: int = NOBODY

    def user(self, store: Store) -> int | None:
        """The uid to change to; None to stay who we are, in a user namespace if that is root."""
        return self.uid if not store.direct and privilege().hands_out_uids else None


def furnish(home: Path, visible: Sequence[Path], uid: int | None) -> None:
    """Make `home` ready: a user's name and home for nix, the repos that git may read though another owns them.

    Only `cache` and `tmp` in it are written by the evaluation, and belong to `uid`.
    """
    home.mkdir(parents=True, exist_ok=True)
    owner = os.geteuid() if uid is None else uid
    _write(home / "passwd", f"hive:x:{owner}:{owner}:hive:{home}:/bin/sh\n")
    _write(home / ".gitconfig", "".join(f"[safe]\n\tdirectory = {_quoted(path)}\n" for path in visible))
    for path in (home / "cache", home / "tmp"):
        path.mkdir(mode=0o700, exist_ok=True)
        if uid is not None:
            os.chown(path, uid, uid)


def variables(home: Path) -> dict[str, str]:
    """The environment that leads nix and git to `home`, and to no other settings."""
    places = {"HOME": home, "XDG_CACHE_HOME": home / "cache", "TMPDIR": home / "tmp"}
    return {"GIT_CONFIG_NOSYSTEM": "1", **{name: str(path) for name, path in places.items()}}


def evaluating(evaluation: Evaluation, store: Store, env: Mapping[str, str], argv: Sequence[str | Path]) -> list[str]:
    """The command line that runs `argv` for an evaluation."""
    home = evaluation.home
    read_only = [*_etc(home), (store.conf, store.conf), *((path, path) for path in evaluation.visible)]
    read_only = [*read_only, *_programs(argv)]
    writable = _scratch(home)
    if store.socket is not None:
        read_only += [(store.store, store.store), (store.socket.parent, store.socket.parent)]
    else:
        writable += _written(store)
    box = sandbox.Sandbox(_there(read_only), _there(writable), _environment(env), evaluation.user(store), cwd=home)
    return sandbox.command(box, argv)


def building(
    store: Store, home: Path, links: Path, env: Mapping[str, str], argv: Sequence[str | Path]
) -> Sequence[str | Path]:
    """The command line that runs `argv` for a build: with the network, and in sight of the store and `links` only.

    A nix daemon sandboxes its builds itself and is not a child of ours: then `argv` runs as it is.
    """
    if not store.direct:
        return argv
    read_only = [*_etc(home), (store.conf, store.conf), *((Path(path), Path(path)) for path in _NETWORK)]
    read_only = [*read_only, *_programs(argv)]
    writable = [*_scratch(home), (links, links), *_written(store)]
    box = sandbox.Sandbox(_there(read_only), _there(writable), _environment(env), network=True, cwd=home)
    return sandbox.command(box, argv)


def _programs(argv: Sequence[str | Path]) -> list[tuple[Path, Path]]:
    """The installation of a nix that does not lie where a system has its programs."""
    real = Path(argv[0]).resolve()
    if real.is_relative_to("/usr") or real.is_relative_to("/nix") or len(real.parents) < 4:
        return []
    top = real.parents[2] if real.parents[1].name == "usr" else real.parents[1]
    return [(top, top)]


def _written(store: Store) -> list[tuple[Path, Path]]:
    return [(path, path) for path in (store.store, store.state, store.logs)]


def _etc(home: Path) -> list[tuple[Path, Path]]:
    return [(home, home), (home / "passwd", Path("/etc/passwd"))]


def _scratch(home: Path) -> list[tuple[Path, Path]]:
    return [(path, path) for path in (home / "cache", home / "tmp")]


def _there(binds: Sequence[tuple[Path, Path]]) -> tuple[tuple[Path, Path], ...]:
    return tuple(pair for pair in binds if pair[0].exists())


def _environment(env: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple({"PATH": _PATH, "LANG": "C.UTF-8", **env}.items())


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _write(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")

"""The sandbox of nix while it works on an agent's files.

Pure evaluation stops `readFile "/etc/shadow"`. It does not stop a download by hash, or `fetchGit` of any git repository
that its user can read. So an evaluation sees the store, its own cache and the given repositories, and has no network.
Locking the flake has fetched every input.

nix starts programs, git above all, and looks for them on the PATH of hive's own process: see `search_path`.

A nix that writes the store directly marks the paths in use by its process id, which is the same in every jail: do not
collect garbage in such a store while hive builds. A nix daemon does not have this problem.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from meta.nix import search_path
from meta.nix.store import Store
from meta.process import sandbox
from meta.process.privilege import privilege

NOBODY = 65_534
_NETWORK = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation: its flake, and its rights.

    `flake` is a flake URL without fragment. `visible` are the git directories that it may read. `home` is its own
    directory for nix's caches, created if missing. `deadline` is in seconds, `memory` in bytes of address space.
    Without `isolated` it runs without bubblewrap. If a nix daemon writes the store and the caller is root, it runs as
    `uid`.
    """

    flake: str
    visible: tuple[Path, ...]
    home: Path
    deadline: float = 60.0
    memory: int = 4 * 2**30
    isolated: bool = True
    uid: int = NOBODY

    def user(self, store: Store) -> int | None:
        """Return the uid to change to; None to keep the caller's, in a user namespace if that is root."""
        return self.uid if not store.direct and privilege().hands_out_uids else None


def prepare(home: Path, visible: Sequence[Path], uid: int | None) -> None:
    """Prepare `home`: a passwd entry for nix, and the repos that git may read although another user owns them.

    The evaluation writes only `cache` and `tmp` in it, which belong to `uid`.
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
    """Return the environment in which nix and git use only the settings in `home`."""
    places = {"HOME": home, "XDG_CACHE_HOME": home / "cache", "TMPDIR": home / "tmp"}
    return {"GIT_CONFIG_NOSYSTEM": "1", **{name: str(path) for name, path in places.items()}}


def evaluation_command(
    evaluation: Evaluation,
    store: Store,
    env: Mapping[str, str],
    argv: Sequence[str | Path],
    state: Path | None = None,
) -> list[str]:
    """Return the command line that runs `argv` for an evaluation. `state` is hive's state directory."""
    home = evaluation.home
    read_only = [*_etc(home), (store.conf, store.conf), *((path, path) for path in evaluation.visible)]
    programs = search_path.inside(os.environ, state)
    read_only = [*read_only, *_programs(argv), *programs.binds]
    writable = _scratch(home)
    if store.socket is not None:
        read_only += [(store.store, store.store), (store.socket.parent, store.socket.parent)]
    else:
        writable += _written(store)
    box = sandbox.Sandbox(
        _existing(read_only),
        _existing(writable),
        env=_environment(env, programs.path),
        uid=evaluation.user(store),
        cwd=home,
    )
    return sandbox.command(box, argv)


def build_command(
    store: Store,
    home: Path,
    links: Path,
    env: Mapping[str, str],
    argv: Sequence[str | Path],
    state: Path | None = None,
) -> Sequence[str | Path]:
    """Return the command line that runs `argv` for a build: with the network, the store and `links`.

    A nix daemon is not a child of hive and sandboxes its builds itself. With one, the command line is `argv`.
    """
    if not store.direct:
        return argv
    read_only = [*_etc(home), (store.conf, store.conf), *((Path(path), Path(path)) for path in _NETWORK)]
    programs = search_path.inside(os.environ, state)
    read_only = [*read_only, *_programs(argv), *programs.binds]
    writable = [*_scratch(home), (links, links), *_written(store)]
    box = sandbox.Sandbox(
        _existing(read_only),
        _existing(writable),
        env=_environment(env, programs.path),
        network=True,
        cwd=home,
        nested=True,
    )
    return sandbox.command(box, argv)


def _programs(argv: Sequence[str | Path]) -> list[tuple[Path, Path]]:
    """Return the bind of a nix that is installed outside the system's directories."""
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


def _existing(binds: Sequence[tuple[Path, Path]]) -> tuple[tuple[Path, Path], ...]:
    return tuple(pair for pair in binds if pair[0].exists())


def _environment(env: Mapping[str, str], path: str) -> tuple[tuple[str, str], ...]:
    return tuple({"PATH": path, "LANG": "C.UTF-8", **env}.items())


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _write(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")

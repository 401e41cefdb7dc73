"""The gc roots of the meta flake's shared inputs: nixpkgs, hive, the modules for every agent, and their own inputs."""

from __future__ import annotations

import os
from pathlib import Path

from meta.desired import flake_lock
from meta.layout import Layout
from meta.nix import Nix
from meta.process.disk import disk_error

_SECONDS = 60.0
_OLDER_LOCKS = 2
"""How many locks like the present one the older inputs fill that are kept for a rollback."""
_OLDER = 6
"""Older inputs that are kept at least. Each is a copy of nixpkgs, of hive or of the modules."""


async def root(layout: Layout, nix: Nix, lock: bytes | None, *, isolated: bool) -> None:
    """Root the shared inputs of `lock` against the host's garbage collection, and unroot old ones."""
    folder, present = layout.nix_inputs, []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for nar_hash in dict.fromkeys(flake_lock.shared_hashes(lock)):
            path = nix.store.input_path(nar_hash)
            if path is None or not path.exists():
                continue
            link = folder / path.name
            if not link.is_symlink():
                await nix.realise(path, link, layout.nix_keep, _SECONDS, isolated=isolated)
            os.utime(link, follow_symlinks=False)
            present.append(link)
        _drop_old(folder, present)
    except OSError as error:
        raise disk_error(f"cannot root the inputs of the meta flake in {folder}", error) from error


def _drop_old(folder: Path, present: list[Path]) -> None:
    older = [link for link in folder.iterdir() if link not in present]
    older.sort(key=lambda link: link.lstat().st_mtime_ns, reverse=True)
    for link in older[max(_OLDER, _OLDER_LOCKS * len(present)) :]:
        link.unlink(missing_ok=True)

"""Programs of this host, as agents of backend `local` see them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from meta.process import sandbox

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a program is. `why` says why agents cannot run it, "" if they can. `binds` is what a sandbox needs."""

    path: Path
    why: str = ""
    binds: tuple[tuple[Path, Path], ...] = ()


def find(names: Iterable[str]) -> dict[str, Place]:
    """Return the programs that are on the agents' PATH, or on this process's, where agents may not see them."""
    places = {}
    system = tuple(map(Path, sandbox.detect().system)) if sandbox.available() else ()
    for name in names:
        if (path := shutil.which(name, path=PATH) or shutil.which(name)) is not None:
            real = Path(path).resolve()
            seen = not system or any(real.is_relative_to(folder) for folder in system)
            places[name] = Place(Path(path), "" if seen else f"it is in {real.parent}, which agents do not see")
    return places

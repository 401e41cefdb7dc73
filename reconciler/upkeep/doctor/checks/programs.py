"""Programs of this host, as agents of backend `local` see them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from meta.config import Config
from meta.process.agent_programs import BIN, agent_programs

PATH = f"{BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a program is. `why` says why agents cannot run it, "" if they can. A sandbox needs `binds` and `links`."""

    path: Path
    why: str = ""
    binds: tuple[tuple[Path, Path], ...] = ()
    links: tuple[tuple[str, Path], ...] = ()

    @property
    def inside(self) -> Path:
        """Its path in a sandbox."""
        return self.links[0][1] if self.links else self.path


def find(config: Config, path: str | None = None) -> dict[str, Place]:
    """Return the coding agents of this host, and what they run on. `path` None: the PATH of this process."""
    return {
        one.name: Place(one.path, one.why, (one.bind,) if one.bind else (), (one.link,) if one.link else ())
        for one in agent_programs(config, search=path)
        if one.path is not None and one.search is None
    }

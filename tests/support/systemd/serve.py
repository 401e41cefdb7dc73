"""`hive serve` inside of the host: backend `nixos`, builder `plain`, stand-in systems that hold the real harness.

Takes the arguments of `hive serve`. The systems run this checkout's harness with the host's own Python.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from typing_extensions import override

from api.cli.commands.serve import exit_code
from api.daemon.serve import ServeOptions, serve
from meta.config import Config
from meta.layout import Layout
from meta.model import Generation
from meta.names import MANAGER, AgentName
from reconciler.backends.base import Backend
from reconciler.backends.nixos.backend import NixosBackend
from reconciler.backends.nixos.bus import Bus
from reconciler.backends.nixos.records import Where
from reconciler.common.tasks import Background
from reconciler.daemon import choices, migration, state_directory
from reconciler.privileged.client import Client
from reconciler.privileged.values import Bounds
from tests.support.systemd.host import REPO, STORE
from tests.support.systemd.nixhost import INTERPRETER
from tests.support.systemd.nixhost import make_library as make_modules
from tests.support.systemd.stand_in import make_system

LIBRARY = STORE / f"{'0' * 32}-hive-harness"
COMMAND = (
    "/bin/sh -c 'chown 1000 /state /home/agent; exec setpriv --reuid=1000 --regid=100 --groups=0 "
    f"env HIVE_ROLE={{role}} HIVE_AGENTS=/agents HIVE_APPLIED=/applied HIVE_META=/meta PYTHONPATH={LIBRARY} "
    f"PYTHONDONTWRITEBYTECODE=1 {INTERPRETER} -P -m harness.cli serve'"
)
"""The command of the harness, as the ordinary user that hive.agent has for it."""


def make_library() -> None:
    """Make one directory of the store with the harness and its imports."""
    if LIBRARY.exists():
        return
    fresh = LIBRARY.with_name(".fresh")
    for name in ("meta", "harness"):
        shutil.copytree(REPO / name, fresh / name)
    make_modules(fresh)
    fresh.rename(LIBRARY)


class StandInBackend(NixosBackend):
    """A backend that turns a generation of builder `plain` into a stand-in system with the same id."""

    @override
    async def set_system(self, agent: AgentName, generation: Generation) -> None:
        await super().set_system(agent, replace(generation, system=stand_in(agent, generation)))


def stand_in(agent: AgentName, generation: Generation) -> Path:
    """Return the system of a generation: its tree, and the unit that runs the harness on it."""
    tree = generation.system / "tree"
    files = {path.name: path.read_text() for path in tree.iterdir() if path.is_file()}
    return make_system(agent, COMMAND.format(role="manager" if agent == MANAGER else "agent"), files)


def nixos_backend(layout: Layout, config: Config, *, owner: str) -> Backend:
    """Return backend `nixos` in the place of `local`."""
    where = Where(bounds=Bounds(store=str(STORE)))
    return StandInBackend(layout, config, Client(Path("/run/hive-privileged/socket")), Bus(Background()), where=where)


def _as_nixos(function: Callable[..., object], _: choices.Choice, *more: object) -> object:
    return function(choices.Choice("nixos", "plain"), *more)


def main() -> int:
    """Serve until a signal."""
    make_library()
    setattr(choices, "LocalBackend", nixos_backend)  # noqa: B010 - a stand-in
    setattr(state_directory, "refuse_another_backends", lambda *_: None)  # noqa: B010 - it only goes by the name `local`
    for name in ("older_containers", "adopt", "harness_uid"):  # they go by that name, too
        setattr(migration, name, partial(_as_nixos, getattr(choices, name)))
    words = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    return exit_code(asyncio.run(serve(ServeOptions(Path(words["--state"]), Path(words["--runtime"])))))


if __name__ == "__main__":
    sys.exit(main())

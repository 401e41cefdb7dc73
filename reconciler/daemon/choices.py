"""The backend and the builder that an operator chooses by name, the pairs that work, and the nix of this host."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from meta.applied.repo import Applied
from meta.config import Config
from meta.desired.repo import LockFlake, MetaRepo
from meta.errors import HiveError, PermanentError
from meta.layout import Layout
from meta.model import ContainerSettings
from meta.names import AgentName
from meta.nix import find as find_nix
from meta.process.recorder import Recorder
from reconciler.backends.base import Backend
from reconciler.backends.fake import FakeBackend
from reconciler.backends.local.backend import LocalBackend
from reconciler.builders.base import Builder
from reconciler.builders.plain import PlainBuilder
from reconciler.common.revision import revision
from reconciler.common.tasks import Background
from reconciler.observe.build_logs import BuildLogs
from reconciler.observe.links import Links
from reconciler.privileged.client import Client
from reconciler.privileged.values import HARNESS_UID
from reconciler.upkeep.migration.look import Containers

log = logging.getLogger(__name__)
LOCK_DEADLINE = 60.0
BACKENDS = ("local", "fake", "nixos")
BUILDERS = ("plain", "nix")
RUNS = {"local": ("plain",), "nixos": ("nix",), "fake": BUILDERS}
"""The form that each backend can run: `local` binds a checked-out tree, `nixos` boots a system."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Names of a backend and a builder that work together."""

    backend: str
    builder: str

    @property
    def own_ranges(self) -> bool:
        """True if the backend gives every container a uid range of its own, even if hive is not root."""
        return self.backend == "nixos"


def choose(backend: str, builder: str) -> Choice:
    """Return the choice. Raise PermanentError for an unknown name, or for a pair that does not work."""
    for what, name, names in (("backend", backend, BACKENDS), ("builder", builder, BUILDERS)):
        if name not in names:
            raise PermanentError(f"there is no {what} {name!r}", f"choose one of: {', '.join(names)}")
    if builder not in RUNS[backend]:
        fits = "--backend nixos --builder nix, or --backend local --builder plain"
        raise PermanentError(f"backend {backend!r} does not run what builder {builder!r} builds", f"use {fits}")
    return Choice(backend, builder)


def make_backend(
    choice: Choice, layout: Layout, config: Config, *, owner: str, links: Links, background: Background
) -> Backend:
    """Return the chosen backend, not yet open. `owner` is the id of the state directory."""
    if choice.backend == "fake":
        return FakeBackend(layout, on_start=links.simulate, on_stop=links.forget)
    if choice.backend == "nixos":
        from reconciler.backends.nixos.backend import NixosBackend  # brings dbus-fast
        from reconciler.backends.nixos.bus import Bus

        helper, bus = Client(Path(config.helper_socket)), Bus(background)
        return NixosBackend(layout, config, helper, bus, starts=config.starts)
    return LocalBackend(layout, config, owner=owner)


def make_builder(
    choice: Choice,
    layout: Layout,
    config: Config,
    *,
    meta: MetaRepo,
    applied: Callable[[AgentName], Applied],
    recorder: Recorder | None,
    build_logs: BuildLogs,
) -> Builder:
    """Return the chosen builder. Without a `recorder` its processes are not recorded."""
    if choice.builder == "plain":
        return PlainBuilder(layout, config, applied, revision(), recorder)
    from reconciler.builders.nix import NixBuilder, usable

    nix = usable(find_nix(recorder, layout.state), config)
    return NixBuilder(layout, config, nix, meta=meta.repo, applied=applied, revision=revision(), on_log=build_logs.note)


def older_containers(choice: Choice, layout: Layout) -> Containers:
    """Return the containers of an older hive on this host. Only backend nixos has them."""
    if choice.backend != "nixos":
        return Containers()
    from reconciler.backends.nixos.records import Where
    from reconciler.backends.nixos.records import older_containers as find_older

    return Containers(*find_older(layout.state, Where()))


def adopt(choice: Choice, layout: Layout, agent: AgentName, settings: ContainerSettings) -> None:
    """Note a container of an older hive as this hive's. Only backend nixos has them."""
    if choice.backend == "nixos":
        from reconciler.backends.nixos.records import Where
        from reconciler.backends.nixos.records import adopt as note

        note(layout.backend(choice.backend) / agent, settings, Where())


def harness_uid(choice: Choice) -> int:
    """Return the uid of the manager's harness in its container, which owns proposed work trees."""
    return HARNESS_UID if choice.backend == "nixos" else 0


async def require_usable(choice: Choice, config: Config, recorder: Recorder) -> None:
    """Raise PermanentError if the chosen builder needs a nix that this host does not have."""
    if choice.builder == "nix":
        from reconciler.builders.nix import usable

        await usable(find_nix(recorder), config).require()


def lock_flake(choice: Choice, recorder: Recorder) -> LockFlake | None:
    """Return the function that locks the meta flake; None on a host without nix.

    Builder `plain` does not read the lock. So with it a nix that cannot lock (for example without a store of its own)
    is not an error.
    """
    nix, needed = find_nix(recorder), choice.builder == "nix"
    if nix is None:
        return None

    async def lock(directory: Path) -> None:
        try:
            await nix.lock(directory, LOCK_DEADLINE)
        except HiveError as error:
            if needed:
                raise
            log.warning("the meta flake stays unlocked: %s", error.summary)

    return lock

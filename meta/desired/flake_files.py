"""flake.nix and flake.lock of a commit of meta: one pair, whose shared inputs always fit each other.

`main` has the shared inputs that are configured. The commit of a deploy has those that its generation was evaluated
with. If these are others, as for a rollback, the next commit brings back the configured ones.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from meta.config import Config
from meta.desired.agents_json import AGENTS_FILE, encode_agents
from meta.desired.changes import write_files
from meta.desired.flake import FLAKE_FILE, SharedUrls, render, shared_urls
from meta.desired.flake_lock import LOCK_FILE, merge_lock, prune_lock, shared, with_shared, without_local
from meta.desired.reader import MetaReader
from meta.layout import Layout
from meta.model import Desired
from meta.names import AgentName, Sha
from meta.process.disk import disk_error

LockFlake = Callable[[Path], Awaitable[None]]
"""Updates flake.lock in a directory (`nix flake lock`)."""


@dataclass(frozen=True, slots=True)
class FlakeFiles:
    """The two files of one commit. `lock` is None before the first lock."""

    flake: bytes
    lock: bytes | None = None

    @property
    def urls(self) -> SharedUrls:
        """The URLs of the shared inputs."""
        return shared_urls(self.flake)

    @property
    def inputs(self) -> tuple[object, ...]:
        """A value that changes whenever a shared input does."""
        return (self.urls, shared(self.lock))

    def named(self) -> dict[str, bytes]:
        """Return the files by name."""
        return {FLAKE_FILE: self.flake, **({LOCK_FILE: self.lock} if self.lock is not None else {})}


class Flakes:
    """Makes the flake's files for one meta repo. Without `lock_flake` there is no flake.lock."""

    def __init__(
        self, layout: Layout, config: Config, reader: MetaReader, lock_flake: LockFlake | None, first_uid: int
    ) -> None:
        self._layout = layout
        self._config = config
        self._reader = reader
        self._lock_flake = lock_flake
        self._first_uid = first_uid
        self.configured = SharedUrls(config.nixpkgs, config.hyperhive, config.agent_modules)
        """The URLs of the shared inputs in the settings."""

    @property
    def has_systems(self) -> bool:
        """True if the flake gives systems, whose shared inputs have to be locked."""
        return self._lock_flake is not None and bool(self._config.nixpkgs)

    async def at(self, commit: Sha) -> FlakeFiles:
        """Return the files of a commit."""
        entries = await self._reader.tree(commit)
        flake = await self._reader.content(entries, FLAKE_FILE)
        return FlakeFiles(flake or b"", await self._reader.content(entries, LOCK_FILE))

    def plain(self, desired: Desired) -> FlakeFiles:
        """Return the files for `desired` with the configured inputs, not locked."""
        return FlakeFiles(self._render(desired, self.configured))

    async def configure(self, desired: Desired, head: FlakeFiles, *, again: bool) -> FlakeFiles:
        """Return the files for `desired` with the configured inputs locked. Those that HEAD has locked stay.

        With `again` read the directories of this host among them again.
        """
        lock = without_local(head.lock) if again and head.lock is not None else head.lock
        return await self._locked(desired, FlakeFiles(self.plain(desired).flake, lock))

    async def candidate(self, desired: Desired, head: FlakeFiles, like: FlakeFiles | None) -> FlakeFiles:
        """Return the locked files of a candidate: the shared inputs are those of `like`, or the configured ones."""
        if like is None or like.lock is None or head.lock is None or not like.urls.nixpkgs:
            return await self._locked(desired, FlakeFiles(self.plain(desired).flake, head.lock))
        lock = with_shared(head.lock, like.lock)
        return await self._locked(desired, FlakeFiles(self._render(desired, like.urls), lock))

    def deploy(
        self, desired: Desired, head: FlakeFiles, candidate: FlakeFiles, agent: AgentName
    ) -> tuple[FlakeFiles, FlakeFiles | None]:
        """Return the files of the commit of a deploy: HEAD's with the shared inputs and this agent of the candidate.

        If HEAD has other shared inputs, also return the files that bring them back.
        """
        if candidate.lock is None:
            return self.keep(desired, head), None
        lock = merge_lock(head.lock, candidate.lock, agent, desired.agents.keys())
        files = FlakeFiles(self._render(desired, candidate.urls), lock)
        if head.lock is None or head.inputs == files.inputs:
            return files, None
        return files, FlakeFiles(self._render(desired, head.urls), with_shared(lock, head.lock))

    def keep(self, desired: Desired, head: FlakeFiles) -> FlakeFiles:
        """Return the files for `desired` with the shared inputs of HEAD."""
        if head.lock is None:
            return self.plain(desired)
        return FlakeFiles(self._render(desired, head.urls), prune_lock(head.lock, desired.agents.keys()))

    def _render(self, desired: Desired, urls: SharedUrls) -> bytes:
        return render(desired, self._layout.applied_git, *urls)

    def files(self, desired: Desired, flake: FlakeFiles) -> dict[str, bytes]:
        """Return all files of a commit of `desired` by name."""
        return {AGENTS_FILE: encode_agents(desired.agents, desired.tombstones, self._first_uid), **flake.named()}

    async def _locked(self, desired: Desired, flake: FlakeFiles) -> FlakeFiles:
        """Return `flake` after `nix flake lock`, which locks only what its lock does not have."""
        if self._lock_flake is None:
            return FlakeFiles(flake.flake)
        scratch = self._layout.scratch / f"meta-{secrets.token_hex(8)}"
        try:
            await asyncio.to_thread(write_files, scratch, self.files(desired, flake))
            await self._lock_flake(scratch)
            path = scratch / LOCK_FILE
            return replace(flake, lock=await asyncio.to_thread(path.read_bytes) if path.exists() else None)
        except OSError as error:
            raise disk_error(f"cannot lock the meta flake in {scratch}", error) from error
        finally:
            await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)

"""The branch `main` of the meta repo: one commit for each change, whose flake fits the agents that it pins.

A commit has the shared inputs of the one before, or those of a deploy's candidate. `settle` makes them those that are
configured.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from meta.desired import trailers
from meta.desired.changes import Changed, tree_with
from meta.desired.flake_files import FlakeFiles, Flakes
from meta.desired.reader import MAIN, MetaReader, candidate_ref
from meta.desired.view import MetaView
from meta.errors import Conflict, TransientError
from meta.git.message import encode
from meta.git.objects import GitObject, commit
from meta.git.repo import GitRepo
from meta.git.transaction import RefChange
from meta.model import Desired
from meta.names import HIVE, AgentName, ProposalId, Sha

log = logging.getLogger(__name__)

_TRIES = 8
_INPUTS = encode("configured inputs", trailers={trailers.ACTION: "inputs", trailers.BY: HIVE})
Change = Callable[[MetaView], Changed | None]
"""What a commit changes. None if there is nothing to change."""


class MainBranch:
    """The commits on `main`. `after_commit` is called with the lock held."""

    def __init__(
        self, repo: GitRepo, reader: MetaReader, flakes: Flakes, after_commit: Callable[[], Awaitable[None]]
    ) -> None:
        self.lock = asyncio.Lock()
        self._repo = repo
        self._reader = reader
        self._flakes = flakes
        self._after_commit = after_commit
        self._settled: Sha | None = None

    @property
    def settled(self) -> bool:
        """True once the shared inputs of `main` are known to be those that are configured, or if there are none."""
        return self._settled is not None or not self._flakes.has_systems

    async def settle(self, at: int) -> bool:
        """Make the shared inputs of `main` those that are configured. Return True if that took a commit.

        The first call reads directories of this host among them again. Without nix there is nothing to do.
        """
        async with self.lock:
            return await self._settle(at)

    async def beside(self, ref: str, change: Change, message: str, at: int, *, like: Sha | None = None) -> Sha:
        """Commit `change` of HEAD at `ref`, not on `main`; return the commit.

        The shared inputs are those that are configured, or those of the commit `like`.
        """
        async with self.lock:
            await self._settle(at)
            view = await self._reader.read()
            desired = _after(view, change(view))
            head = await self._flakes.at(view.desired.head)
            files = await self._flakes.candidate(desired, head, await self._flakes.at(like) if like else None)
            base = await self._reader.tree(view.desired.head)
            root, objects = tree_with(base, self._flakes.files(desired, files))
            new = commit(root, (view.desired.head,), message, at)
            await self._repo.transaction([RefChange(ref, new=new.id)], [*objects, new])
            return new.id

    async def commit(
        self,
        change: Change,
        message: str,
        at: int,
        locked_by: tuple[AgentName, ProposalId] | None = None,
        *,
        lock: bool = False,
    ) -> Sha:
        """Commit `change` of HEAD; return the new HEAD. Retry if another commit was first.

        A change that returns None makes no commit. With `lock` the flake is locked again.
        """
        async with self.lock:
            for _ in range(_TRIES):
                view = await self._reader.read()
                changed = change(view)
                if changed is None:
                    return view.desired.head
                desired = _after(view, changed)
                flake, after = await self._flake_files(desired, locked_by, lock=lock)
                steps = [(flake, message), *([(after, _INPUTS)] if after is not None else [])]
                try:
                    return await self._advance(desired, steps, at)
                except Conflict as error:
                    log.info("meta main moved meanwhile, retrying: %s", error)
        raise TransientError("other commits moved meta main at every try", "try again")

    async def _settle(self, at: int) -> bool:
        for _ in range(_TRIES if self._flakes.has_systems else 0):
            desired = (await self._reader.read()).desired
            if desired.head == self._settled:
                return False
            old = await self._flakes.at(desired.head)
            wanted = old
            if self._settled is None or self._flakes.keep(desired, old).flake != self._flakes.plain(desired).flake:
                wanted = await self._flakes.configure(desired, old, again=self._settled is None)
            if wanted == old:
                self._settled = desired.head
                return False
            log.info("the shared inputs of meta become those that are configured")
            try:
                self._settled = await self._advance(desired, [(wanted, _INPUTS)], at)
            except Conflict as error:
                log.info("meta main moved meanwhile, retrying: %s", error)
                continue
            return True
        return False

    async def _advance(self, desired: Desired, steps: list[tuple[FlakeFiles, str]], at: int) -> Sha:
        """Commit `desired` on its head once for each of `steps` (the flake's files, message). Return the new HEAD.

        Raise Conflict if `main` moved meanwhile; no commit is made then.
        """
        base, parent = await self._reader.tree(desired.head), desired.head
        objects: list[GitObject] = []
        for flake, message in steps:
            root, trees = tree_with(base, self._flakes.files(desired, flake))
            new = commit(root, (parent,), message, at)
            objects += [*trees, new]
            parent = new.id
        await self._repo.transaction([RefChange(MAIN, new=parent, old=desired.head)], objects)
        if self._settled == desired.head:
            self._settled = parent
        await self._after_commit()
        return parent

    async def _flake_files(
        self, desired: Desired, locked_by: tuple[AgentName, ProposalId] | None, *, lock: bool
    ) -> tuple[FlakeFiles, FlakeFiles | None]:
        """Return the flake's files for `desired`, and those of a commit after it, see `Flakes.deploy`."""
        head = await self._flakes.at(desired.head)
        if lock:
            return await self._flakes.configure(desired, head, again=False), None
        ref = self._repo.ref(candidate_ref(*locked_by)) if locked_by is not None else None
        if ref is None or locked_by is None:
            return self._flakes.keep(desired, head), None
        return self._flakes.deploy(desired, head, await self._flakes.at(ref), locked_by[0])


def _after(view: MetaView, changed: Changed | None) -> Desired:
    """Return the desired state after a change."""
    if changed is None:
        return view.desired
    return replace(view.desired, agents=changed[0], tombstones=changed[1])

"""The objects of each id of an applied repo, kept apart until nothing names them (`meta/git/packs.py`)."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Set
from pathlib import Path

from meta.applied.merged_packs import merge
from meta.applied.states import FOLDERS, parse, tag_ref
from meta.applied.tags import ReadTag
from meta.git import packs
from meta.git.in_use import is_fetched
from meta.git.repo import GitRepo
from meta.git.transaction import ABSENT, RefChange
from meta.layout import Layout
from meta.model import TagState
from meta.names import ProposalId
from meta.own_file import sync_folder
from meta.process.disk import disk_error

PATIENCE = 600.0
"""Seconds that the objects of a denied id stay at most because a git that hive did not start works in the repo."""


class Kept:
    """The packs of one applied repo. `ids` have one; an id whose commit the repo had before has none."""

    def __init__(self, repo: GitRepo, layout: Layout) -> None:
        self._repo = repo
        self._layout = layout
        self._shared = (layout.applied_repos,)
        self._held: dict[ProposalId, float] = {}
        """When the removal of the objects of a denied id was first put off."""

    def ids(self) -> frozenset[ProposalId]:
        """Return the ids whose objects are kept apart, without a process."""
        return packs.ids(self._repo.path)

    async def remove(self, id: ProposalId, states: Set[TagState], *, patient: bool = False) -> bool:
        """Remove the objects of `id`. Return False if it has other tags than those of `states`, or is being read.

        With `patient` a git that answers a fetch reads it too: it finds the commit that a clone has, tells git in the
        clone so, and fails if the commit is gone a moment later.

        A ref that cannot be read counts as a tag. Raise TransientError or PermanentError if the disk fails.
        """

        def work() -> bool:
            now = time.monotonic()
            since = self._held.get(id, now)
            if self._tags(id) != states:
                self._held.pop(id, None)
                return False
            for state in states | {TagState.PROPOSAL}:  # the tags must not come back after a loss of power
                _sync(self._repo.path / tag_ref(state, id))
            fetched = patient and now - since < PATIENCE and self._is_fetched()
            if not fetched and packs.remove(self._repo.path, id, self._shared):
                self._held.pop(id, None)
                return True
            if patient:
                self._held[id] = since
            return False

        return await asyncio.to_thread(work)

    async def remove_ended(
        self, read: Mapping[ProposalId, Mapping[TagState, ReadTag]], *, untagged: bool
    ) -> tuple[ProposalId, ...]:
        """Remove the objects of each denied id whose tag took the place of its proposal. Return these ids.

        With `untagged` also remove those of ids without a tag: a daemon died before P3. `read`: all tags.
        """
        removed = []
        for id in sorted(self.ids()):
            states = read.get(id, {})
            denied = states.get(TagState.DENIED)
            if denied is not None and denied.proposal is not None:
                left = states.get(TagState.PROPOSAL)
                if left is not None and left.object == denied.proposal.object:  # a kill cut the transaction
                    await self._repo.transaction([RefChange(tag_ref(TagState.PROPOSAL, id), ABSENT, left.object)])
                done = await self.remove(id, {TagState.DENIED}, patient=True)
            else:
                done = untagged and not states and await self.remove(id, frozenset())
            if done:
                removed.append(id)
        return tuple(removed)

    def held(self) -> bool:
        """Return True if `remove_ended` put off a removal because somebody was reading."""
        return bool(self._held)

    async def merge(self, ended: Set[ProposalId]) -> int:
        """Merge the packs of ended ids that stay for good, if there are many. Return how many packs are gone."""
        return await merge(self._repo.path, ended, self._layout)

    def _is_fetched(self) -> bool:
        try:
            return is_fetched(self._repo.path)
        except OSError as error:
            raise disk_error(f"cannot see who reads {self._repo.path}", error) from error

    def _tags(self, id: ProposalId) -> set[TagState]:
        read = {parsed for ref in self._repo.refs(FOLDERS) if (parsed := parse(ref)) is not None}
        present = {state for state in TagState if os.path.lexists(self._repo.path / tag_ref(state, id))}
        return present | {state for state in TagState if (state, id) in read}


def _sync(ref: Path) -> None:
    """Sync the name of a ref to the disk. A folder that is missing has none."""
    try:
        sync_folder(ref.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        raise disk_error(f"cannot write the tags in {ref.parent}", error) from error

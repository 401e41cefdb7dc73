"""The parts of the meta repo that move without a deploy: run.json on the branch `run`, and the counter of ids."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
from collections.abc import Awaitable, Callable

from meta.desired import trailers
from meta.desired.agents_json import RUN_FILE, encode_run
from meta.desired.changes import RunNote, note, tree_with
from meta.desired.reader import COUNTER, RUN
from meta.desired.view import MetaView
from meta.errors import Conflict, Damaged, PermanentError, TransientError
from meta.git.objects import GitObject, blob, commit
from meta.git.repo import GitRepo
from meta.git.transaction import ABSENT, RefChange
from meta.model import RunEntry, RunState
from meta.names import ID_LIMIT, AgentName, ProposalId, Sha
from meta.process.disk import disk_error

log = logging.getLogger(__name__)
_TRIES = 8


class RunBranch:
    """run.json: running or stopped, restart counters. `read` returns the present state of meta."""

    def __init__(self, repo: GitRepo, read: Callable[[], Awaitable[MetaView]]) -> None:
        self._repo = repo
        self._read = read
        self._lock = asyncio.Lock()

    async def change(
        self,
        agent: AgentName,
        change: Callable[[RunEntry], RunEntry | None],
        by: str,
        at: int,
        words: RunNote | None = None,
    ) -> RunEntry | None:
        """Change the agent's entry (None removes it); return the new one. An equal entry makes no commit.

        `words` are those of the commit; without them its action is the state of the new entry.
        """
        async with self._lock:
            for _ in range(_TRIES):
                old = self._repo.ref(RUN)  # before `read`: if the branch moves in between, a conflict follows
                desired = (await self._read()).desired
                wanted = change(desired.run_of(agent))
                if wanted == desired.run.get(agent):
                    return wanted
                others = {name: entry for name, entry in desired.run.items() if name != agent}
                run = {**others, agent: wanted} if wanted is not None else others
                root, objects = tree_with([], {RUN_FILE: encode_run(run)})
                new = commit(root, (old,) if old else (), _message(wanted, agent, by, words), at)
                try:
                    await self._repo.transaction([RefChange(RUN, new=new.id, old=old or ABSENT)], [*objects, new])
                except Conflict as error:
                    log.info("run.json moved meanwhile, retrying: %s", error)
                    continue
                return wanted
        raise TransientError("other changes of run.json were first at every try", "try again")


def _message(entry: RunEntry | None, agent: AgentName, by: str, words: RunNote | None) -> str:
    if words is None:
        return note(_action(entry), agent, by)
    return note(words.action, agent, by, also=words.also)


def _action(entry: RunEntry | None) -> str:
    """Return the word for an entry in the log of the branch; None: it was removed."""
    if entry is None:
        return trailers.FORGET
    return "paused" if entry.paused and entry.state is RunState.RUNNING else str(entry.state)


class Counter:
    """The last id that was taken, as a blob behind a ref."""

    def __init__(self, repo: GitRepo) -> None:
        self._repo = repo

    async def take(self, at_least: int) -> ProposalId:
        """Take the next id: at least `at_least` and 1, and never one that was taken before."""
        for _ in range(_TRIES):
            old = self._repo.ref(COUNTER)
            last = await self._last(old) if old else 0
            id = ProposalId(max(last + 1, at_least, 1))
            if id >= ID_LIMIT:
                raise PermanentError(f"the next id would be {id}, which is too large", "restore meta from a backup")
            counter = blob(f"{id}\n".encode())
            try:
                await self._repo.transaction([RefChange(COUNTER, new=counter.id, old=old or ABSENT)], [counter])
            except (Conflict, TransientError) as error:
                if self._repo.ref(COUNTER) == old:
                    raise
                log.info("the id counter moved meanwhile, retrying: %s", error)
                continue
            return id
        raise TransientError("other changes moved the id counter at every try", "try again")

    async def reach(self, id: ProposalId) -> None:
        """Take `id` as if it were the last one, unless it or a later one was taken."""
        old = self._repo.ref(COUNTER)
        if (await self._last(old) if old else 0) < id:
            await self.take(id)

    async def mend(self) -> None:
        """Move a damaged counter aside. The next id then follows the highest one of meta and the cards.

        Only for a start: no other git may run in the repo.
        """
        path = self._repo.path / COUNTER
        try:
            old = self._repo.ref(COUNTER)
            if old is not None:
                await self._last(old)
        except Damaged as error:
            if not os.path.lexists(path):  # another file is damaged
                raise
            aside = self._repo.path / f"counter.damaged-{secrets.token_hex(4)}"
            try:
                path.rename(aside)
            except OSError as failure:
                raise disk_error(f"cannot move {path} aside", failure) from failure
            log.warning("%s; it was moved to %s and is made again", error.summary, aside)

    async def _last(self, counter: Sha) -> int:
        last = _number((await self._repo.objects([counter])).get(counter))
        if last is None:
            raise Damaged(self._repo.path / COUNTER, f"its object {counter} is not a number")
        return last


def _number(counter: GitObject | None) -> int | None:
    text = counter.data.decode("ascii", "replace").strip() if counter is not None else ""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None

"""What apply asks of a builder: a preview of what is pending, and a build that is what was shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from meta.approval import Binding, objection
from meta.errors import BuildFailed, PermanentError, Refused
from meta.model import Deploy
from meta.names import AgentName, ProposalId, Sha
from meta.nix.summary import compare
from meta.text import scrub
from reconciler.apply.effects import effect
from reconciler.builders.base import Builder, BuildRequest, Preview
from reconciler.observe.previews import Previewed
from reconciler.world import World

TRIES = 5
"""Previews of one id that may end at a limit of time or memory before only a person asks for another."""

COMPLAINT_LIMIT = 8000
"""Characters of it that a card keeps."""

MakeCandidate = Callable[[AgentName, Deploy], Awaitable[None]]


class Building:
    """The builder behind the build limit."""

    def __init__(self, world: World, builder: Builder) -> None:
        self._w = world
        self._builder = builder

    async def build(self, request: BuildRequest, shown: Binding | None) -> None:
        """A4. Refused when the operator approved something else than what would be built now."""
        async with self._w.builds:
            with effect("build"):
                if shown is not None and self._builder.previews:
                    why = objection(shown, await self._builder.shown(request))
                    if why is not None:
                        raise Refused(why, "look at it again and propose it again")
                await self._builder.build(request)

    async def complaint(self, agent: AgentName, sha: Sha) -> str | None:
        """Why this commit cannot be built, as far as its own files show that; None when they do not."""
        try:
            await self._builder.check(agent, sha)
        except PermanentError as error:
            return _told(error)
        return None

    async def preview(self, agent: AgentName, deploy: Deploy, candidate: MakeCandidate) -> None:
        """Evaluate the pending `deploy` in a candidate of its own, which goes again; keep what came out."""
        previews = self._w.observer.previews
        if previews is None:
            return
        with effect("preview"):
            previews.running[agent] = deploy.id
            try:
                await candidate(agent, deploy)
                previewed = await self._previewed(agent, deploy)
            finally:
                previews.running.pop(agent, None)
                await self._w.meta.drop_candidate(agent, deploy.id)
            desired, deploys = (await self._w.meta.read()).desired, await self._w.observer.refresh(agent)
            entry = desired.agents.get(agent)
            keep = {each.id for each in deploys if not each.state.terminal} | ({entry.pin.id} if entry else set())
            previews.write(agent, deploy.id, previewed, frozenset(keep))

    async def _previewed(self, agent: AgentName, deploy: Deploy) -> Previewed:
        made = (await self._w.meta.read()).candidates[agent][deploy.id]
        settings = made.entry.settings
        request = BuildRequest(agent, deploy.id, deploy.sha, settings, made.commit)
        async with self._w.previews:
            try:
                found = await self._builder.preview(request)
                if self._w.config.prebuild:
                    await self._builder.build(request)
            except PermanentError as error:
                nothing = Binding(deploy.sha, "", "", "", settings.fingerprint())
                return self._refused(agent, deploy.id, nothing, error)
            now = await self._running(agent)
            lines = compare(now.summary if now else None, found.summary)
        same = now is not None and now.shown.derivation == found.shown.derivation
        return Previewed(found.shown, lines, summary=found.summary, same=same)

    def _refused(self, agent: AgentName, id: ProposalId, shown: Binding, error: PermanentError) -> Previewed:
        """What cannot be built, in words; one that ended at a limit is tried again, each time after a longer wait."""
        told, previews = _told(error), self._w.observer.previews
        if previews is None or not (isinstance(error, BuildFailed) and error.bound):
            return Previewed(shown, complaint=told)
        before = previews.of(agent).get(id)
        tries = 1 + (before.tries if before is not None else 0)
        wait = self._w.config.retry_backoff_max * 2 ** (tries - 1)
        more = tries < TRIES
        again = f"it is tried again in {wait:g} s, and at once by `hive retry {id}`"
        told += f"\n{_times(tries)}; {again if more else f'it is not tried again by itself; `hive retry {id}` does'}"
        return Previewed(shown, complaint=told, tries=tries, again_at=self._w.clock() + wait if more else None)

    async def _running(self, agent: AgentName) -> Preview | None:
        """What meta pins; None before the first deploy, or when that cannot be evaluated any more."""
        desired = (await self._w.meta.read()).desired
        entry, previews = desired.agents.get(agent), self._w.observer.previews
        if entry is None or previews is None:
            return None
        known = previews.of(agent).get(entry.pin.id)
        if known is not None and known.summary is not None:
            return Preview(known.shown, known.summary)
        request = BuildRequest(agent, entry.pin.id, entry.pin.sha, entry.settings, desired.head)
        try:
            return await self._builder.preview(request)
        except PermanentError:
            return None


def _told(error: PermanentError) -> str:
    log = error.log if isinstance(error, BuildFailed) else ""
    said = "\n".join(dict.fromkeys(part.strip() for part in (error.summary, error.hint, log) if part))
    return scrub(said, COMPLAINT_LIMIT)


def _times(tries: int) -> str:
    return "tried once" if tries == 1 else f"tried {tries} times"

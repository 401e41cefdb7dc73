"""The steps that call the builder: preview a pending proposal, and build exactly what was approved."""

from __future__ import annotations

import asyncio
from typing import assert_never

from meta.agent_toml.settings import SETTINGS_FILE
from meta.approval import Binding, objection
from meta.errors import BuildFailed, PermanentError, Refused
from meta.model import Deploy, Generation
from meta.names import AgentName, Sha
from meta.nix.summary import FORM, compare
from meta.text import scrub
from reconciler.apply.candidates import make_candidate
from reconciler.apply.effects import effect
from reconciler.builders.base import Builder, BuildRequest, Preview
from reconciler.network.check import check_reach_of_text
from reconciler.observe.previews import Previewed
from reconciler.plan import steps
from reconciler.plan.origin import source_id
from reconciler.world import World

TRIES = 5
"""Previews of one id that may reach a limit of time or memory. After these, only `hive retry` starts another."""

COMPLAINT_LIMIT = 8000
"""Characters of a complaint that a card keeps."""

BuildStep = steps.Preview | steps.Build


class BuildSteps:
    """The steps that call the builder. The limits of previews and of builds bound how many run at a time."""

    def __init__(self, world: World, builder: Builder) -> None:
        self._world = world
        self._builder = builder
        self._previewing = asyncio.Semaphore(1)  # apart from builds: a preview never takes the place of a build

    async def __call__(self, agent: AgentName, step: BuildStep, deploy: Deploy) -> None:
        """Do `step` for `deploy`."""
        match step:
            case steps.Preview():
                await self._preview(deploy)
            case steps.Build(id=id, sha=sha, settings=settings, candidate=candidate):
                await self._build(BuildRequest(agent, id, sha, settings, candidate), deploy)
            case _:
                assert_never(step)

    async def complaint(self, agent: AgentName, sha: Sha) -> str | None:
        """Return why this commit cannot be built, by its files and the operator's ceiling; None for no reason."""
        try:
            await self._builder.check(agent, sha)
            await self._check_reach(agent, sha)
        except PermanentError as error:
            return _described(error)
        return None

    async def _build(self, request: BuildRequest, deploy: Deploy) -> None:
        """Build the generation. Raise Refused if the operator approved something else than what would be built now.

        A rollback takes the generation that its target ran, if it still exists. What ran before is not checked against
        the ceiling again: `hive-egress` holds every request to it.
        """
        shown = deploy.shown
        target = None if deploy.state.terminal else source_id(deploy)
        async with self._world.builds:
            with effect("build"):
                if target is not None and await self._builder.reuse(request, target):
                    return
                if shown is not None and self._builder.previews:
                    difference = objection(shown, await self._builder.shown(request))
                    if difference is not None:
                        raise Refused(difference, "look at it again and propose it again")
                if target is None and not deploy.state.terminal:
                    await self._check_reach(request.agent, request.sha)  # the ceiling may be lower by now
                await self._builder.build(request)

    async def _check_reach(self, agent: AgentName, sha: Sha) -> None:
        """Raise Refused if the commit's agent.toml wants to reach what the operator's ceiling forbids."""
        text = await self._world.applied(agent).read(sha, SETTINGS_FILE)
        await check_reach_of_text(text, self._world.network)

    async def _preview(self, deploy: Deploy) -> None:
        """Evaluate the pending `deploy` in a candidate made only for that. Drop the candidate, and keep the preview."""
        agent, previews = deploy.agent, self._world.previews
        if previews is None:
            return
        with effect("preview"):
            previews.running[agent] = deploy.id
            try:
                await make_candidate(self._world, deploy)
                await self._world.observer.desired()  # the candidate is on the configured inputs: read their revision
                revision = self._world.observer.revision
                previewed = await self._evaluate(deploy, revision)
            finally:
                previews.running.pop(agent, None)
                await self._world.meta.drop_candidate(agent, deploy.id)
            desired, deploys = (await self._world.meta.read()).desired, await self._world.observer.refresh(agent)
            entry = desired.agents.get(agent)
            keep = {each.id for each in deploys if not each.state.terminal} | ({entry.pin.id} if entry else set())
            previews.write(agent, deploy.id, previewed, frozenset(keep), revision)

    async def _evaluate(self, deploy: Deploy, revision: str) -> Previewed:
        agent = deploy.agent
        candidate = (await self._world.meta.read()).candidates[agent][deploy.id]
        settings = candidate.entry.settings
        request = BuildRequest(agent, deploy.id, deploy.sha, settings, candidate.commit)
        async with self._previewing:
            try:
                preview = await self._builder.preview(request)
                if self._world.config.prebuild:
                    await self._builder.build(request)
            except PermanentError as error:
                not_built = Binding(deploy.sha, "", "", "", settings.fingerprint())
                return self._refused(deploy, not_built, error, revision)
            pinned = await self._pinned(agent)
            lines = await asyncio.to_thread(compare, pinned.summary if pinned else None, preview.summary)
        same = pinned is not None and (
            pinned.shown.derivation == preview.shown.derivation or pinned.summary.is_same(preview.summary)
        )
        return Previewed(preview.shown, lines, summary=preview.summary, same=same)

    def _refused(self, deploy: Deploy, shown: Binding, error: PermanentError, revision: str) -> Previewed:
        """Return the preview of what cannot be built. If it reached a limit, hive retries it after a longer wait.

        On other shared inputs than before the tries are counted anew.
        """
        id, complaint, previews = deploy.id, _described(error), self._world.previews
        if previews is None or not (isinstance(error, BuildFailed) and error.bound):
            return Previewed(shown, complaint=complaint)
        before = previews.of(deploy.agent).get(id)
        tries = 1 + (before.tries if before is not None and before.revision == revision else 0)
        wait = self._world.config.retry_backoff_max * 2 ** (tries - 1)
        tries_again = tries < TRIES
        complaint += f"\n{_times(tries)}; "
        if tries_again:
            complaint += f"it is tried again in {wait:g} s, and at once by `hive retry {id}`"
        else:
            complaint += f"it is not tried again by itself; `hive retry {id}` does"
        again_at = self._world.clock() + wait if tries_again else None
        return Previewed(shown, complaint=complaint, tries=tries, again_at=again_at)

    async def _pinned(self, agent: AgentName) -> Preview | None:
        """Return the preview of what meta pins, on the shared inputs that it runs on.

        Return None before the first deploy, or if it cannot be evaluated any more.
        """
        view = await self._world.meta.read()
        desired, previews = view.desired, self._world.previews
        entry = desired.agents.get(agent)
        if entry is None or previews is None:
            return None
        known, runs = previews.of(agent).get(entry.pin.id), self._builder.built(agent).get(entry.pin.id)
        rebuilt = known is not None and runs is not None and not _is_on_inputs(runs, known.shown)
        if known is not None and known.summary is not None and known.summary.form == FORM and not rebuilt:
            return Preview(known.shown, known.summary)
        source = view.sources.get(agent, {}).get(entry.pin.id, desired.head)
        request = BuildRequest(agent, entry.pin.id, entry.pin.sha, entry.settings, source)
        try:
            return await self._builder.preview(request)
        except PermanentError:
            return None


def _is_on_inputs(generation: Generation, shown: Binding) -> bool:
    """Return True if `generation` was built with the shared inputs of `shown`. An unknown one is not compared."""
    pairs = ((generation.revision, shown.hive), (generation.nixpkgs, shown.nixpkgs))
    return generation.modules == shown.modules and all(
        not built or not previewed or built == previewed for built, previewed in pairs
    )


def _described(error: PermanentError) -> str:
    log = error.log if isinstance(error, BuildFailed) else ""
    text = "\n".join(dict.fromkeys(part.strip() for part in (error.summary, error.hint, log) if part))
    return scrub(text, COMPLAINT_LIMIT)


def _times(tries: int) -> str:
    return "tried once" if tries == 1 else f"tried {tries} times"

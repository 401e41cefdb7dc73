"""The changes of a proposal, and the changes between two commits of an agent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from meta.agent_toml.changes import MORE, describe_changes, list_of
from meta.agent_toml.no_effect import describe_no_effect
from meta.agent_toml.settings import SETTINGS_FILE, flatten
from meta.agent_toml.unreachable import describe_unreachable
from meta.applied.repo import Applied
from meta.errors import HiveError, NotFound
from meta.git.diff import CONTEXT, TreeDiff
from meta.model import Deploy, TagState
from meta.names import AgentName, ProposalId, Sha
from meta.network.operator_file import OperatorFile
from meta.network.reach import ReachSettings, is_reachable
from meta.network.reach_words import newly_reachable
from meta.network.rule import Rule
from meta.proposed.settings import read_settings
from meta.text import name_invisible
from reconciler.apply.apply import Apply
from reconciler.observe.build_logs import BuildLogs
from reconciler.proposals.deploys import Deploys
from reconciler.proposals.kept import is_kept, not_kept
from reconciler.views import BuildLog, Change, Diff
from reconciler.world import World

AT_ONCE = 2
"""Diffs that git makes at the same time: each may take 64 MiB."""

MOST_COMMITS = 10_000
"""Commits of one proposal whose subjects a diff lists."""


@dataclass(frozen=True, slots=True)
class _Settings:
    """What changed in agent.toml: (key, before, after), and the same in words."""

    triples: tuple[tuple[str, str, str], ...]
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NetworkView:
    """Whose settings they are, and the operator's for the way out, which say what an agent.toml lets it reach."""

    agent: AgentName
    file: OperatorFile
    ceiling: tuple[Rule, ...] | None = None


class DiffsQuery:
    """The views of differences."""

    def __init__(self, world: World, apply: Apply, deploys: Deploys, build_logs: BuildLogs) -> None:
        self._world = world
        self._apply = apply
        self._deploys = deploys
        self._build_logs = build_logs
        self._room = asyncio.Semaphore(AT_ONCE)

    async def proposal(
        self, id: ProposalId, agent: AgentName | None = None, path: str | None = None, context: int = CONTEXT
    ) -> Diff:
        """Return the changes of a proposal against the agent's newest deployed commit (applied/main), or of one file.

        The patch shows `context` unchanged lines around a change. Raise NotFound.

        If the commit of a denied id is no longer kept, `cut` says so, and there are no changes.

        For a pending proposal, also return the fault in its files, if there is one. Every builder checks that.
        """
        owner = (await self._deploys.find(id, agent)).agent
        applied, previews = self._world.applied(owner), self._world.previews
        with applied.reading():  # a denial keeps its objects until then
            deploy = await self._deploys.find(id, owner)
            if not await is_kept(applied, deploy):
                return self._without_patch(deploy, previews=previews is not None)
            base = deploy.base if deploy.state.terminal else await applied.main() or deploy.base
            return await self._with_patch(deploy, base, path, context)

    async def build_log(self, id: ProposalId, agent: AgentName | None = None) -> BuildLog:
        """Return the last lines of the build of an id. Raise NotFound."""
        owner = await self._deploys.owner(id, agent)
        return BuildLog(id, owner, self._build_logs.tail(owner, id))

    async def _with_patch(self, deploy: Deploy, base: Sha | None, path: str | None, context: int) -> Diff:
        id, owner = deploy.id, deploy.agent
        applied, previews = self._world.applied(owner), self._world.previews
        diff = await self._compare(applied, base, deploy.sha, path, context)
        preview = previews.of(owner).get(id) if previews is not None else None
        complaint = preview.complaint if preview else None
        settings = await self._settings_between(owner, base, deploy.sha)
        return Diff(
            previews=previews is not None,
            system=preview.lines if preview else (),
            complaint=complaint if complaint is not None else await self._complaint(deploy),
            shown=preview.shown.fingerprint() if preview else None,
            same=preview.same if preview else False,
            build=self._build_logs.tail(owner, id),
            id=id,
            agent=owner,
            base=base,
            sha=deploy.sha,
            description=deploy.description,
            commits=await applied.log(base, deploy.sha, MOST_COMMITS),
            settings=settings.triples,
            words=settings.words,
            files=tuple(change.path for change in diff.files),
            patch=diff.patch,
            changes=diff.files,
            cut=diff.cut,
            invisible=await asyncio.to_thread(_invisible, diff, settings.triples),
        )

    def _without_patch(self, deploy: Deploy, *, previews: bool) -> Diff:
        error = not_kept(deploy)
        return Diff(
            previews=previews,
            build=self._build_logs.tail(deploy.agent, deploy.id),
            id=deploy.id,
            agent=deploy.agent,
            base=deploy.base,
            sha=deploy.sha,
            description=deploy.description,
            commits=(),
            settings=(),
            files=(),
            patch="",
            cut=f"{error.summary}; {error.hint}",
        )

    async def change(
        self,
        agent: AgentName,
        first: str | None = None,
        last: str | None = None,
        path: str | None = None,
        context: int = CONTEXT,
    ) -> Change:
        """Return the changes from `first` to `last`: ids of the agent, or 7 to 40 digits of commits.

        With `path` only those of that file. `context` is the number of unchanged lines that the patch shows around a
        change. Without `first` begin with the commit that was deployed before. Without `last` end with the pinned one.
        """
        pin = (await self._deploys.entry(agent)).pin.sha
        deploys = await self._deploys.of(agent)
        after = await self._deploys.resolve(agent, deploys, last) if last else pin
        before = await self._deploys.resolve(agent, deploys, first) if first else _before(deploys, after, agent)
        applied = self._world.applied(agent)
        diff = await self._compare(applied, before, after, path, context)
        settings = await self._settings_between(agent, before, after)
        return Change(
            agent=agent,
            base=before,
            sha=after,
            commits=await applied.log(before, after),
            settings=settings.triples,
            words=settings.words,
            files=tuple(change.path for change in diff.files),
            patch=diff.patch,
            changes=diff.files,
            cut=diff.cut,
            invisible=await asyncio.to_thread(_invisible, diff, settings.triples),
        )

    async def _compare(
        self, applied: Applied, before: Sha | None, after: Sha, path: str | None, context: int
    ) -> TreeDiff:
        async with self._room:
            return await applied.diff(before, after, path, context)

    async def _complaint(self, deploy: Deploy) -> str | None:
        if deploy.state is not TagState.PROPOSAL:
            return None
        return await self._apply.complaint(deploy.agent, deploy.sha)

    async def _settings_between(self, agent: AgentName, base: Sha | None, sha: Sha) -> _Settings:
        before = await self._settings(agent, base) if base else {}
        after = await self._settings(agent, sha)
        triples = tuple(
            (key, before.get(key, ""), after.get(key, ""))
            for key in sorted({*before, *after})
            if before.get(key) != after.get(key)
        )
        if not triples:
            return _Settings((), ())
        operator = self._world.network
        here = NetworkView(agent, operator.file(), operator.ceiling())
        return _Settings(triples, await asyncio.to_thread(describe, before, after, here))

    async def _settings(self, agent: AgentName, sha: Sha) -> dict[str, str]:
        """Return agent.toml of a commit, flat. A file that is not valid becomes the one key `agent.toml`."""
        try:
            return flatten(await read_settings(await self._world.applied(agent).read(sha, SETTINGS_FILE)))
        except HiveError as error:
            return {SETTINGS_FILE: f"({error.summary})"}


def describe(before: Mapping[str, str], after: Mapping[str, str], here: NetworkView) -> tuple[str, ...]:
    """Return the changes in words: more rights, then what the runtime does not obey, then the rest.

    Both are as `flatten` returns them; `before` is empty for a new agent, whose runtime comes first.
    """
    texts = describe_changes(before, after)
    more = [text for text in texts if text.startswith(MORE)] if before else texts[:1]
    first, last = _reach(before, after, here)
    return (*more, *first, *describe_no_effect(after), *texts[len(more) :], *last)


def _reach(
    before: Mapping[str, str], after: Mapping[str, str], here: NetworkView
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what the agent may newly reach, with what is special about it, and what it may no longer reach."""
    if SETTINGS_FILE in after:  # it is not valid
        return (), ()
    old = _reach_of(here.agent, before) if before else None
    words = newly_reachable(old, _reach_of(here.agent, after), here.file, here.ceiling)
    new = [_block("it may reach:" if old is None else f"{MORE}it may newly reach:", "+", words.new)]
    if old is None and not words.new:
        new = ["it may reach no host"]
    reach = partial(is_reachable, _reach_of(here.agent, after), here.file, here.ceiling)
    return tuple(filter(None, [*new, *words.notes, *describe_unreachable(after, reach)])), tuple(
        filter(None, [_block("it may no longer reach:", "-", words.gone)])
    )


def _reach_of(agent: AgentName, settings: Mapping[str, str]) -> ReachSettings:
    entries = list_of(settings, "network.allow")
    return ReachSettings(agent, settings.get("runtime", ""), entries, settings.get("network.defaults") == "true")


def _block(head: str, mark: str, lines: Sequence[str]) -> str:
    return "\n".join([head, *(f"  {mark} {line}" for line in lines)]) if lines else ""


def _invisible(diff: TreeDiff, settings: Sequence[tuple[str, str, str]]) -> tuple[str, ...]:
    paths = (path for change in diff.files for path in (change.path, change.old_path or ""))
    return name_invisible(diff.patch, *paths, *(text for setting in settings for text in setting))


def _before(deploys: tuple[Deploy, ...], sha: Sha, agent: AgentName) -> Sha:
    """Return the commit that was deployed before `sha`. Raise NotFound."""
    done = [deploy for deploy in deploys if deploy.state is TagState.DEPLOYED]
    place = next((at for at in range(len(done) - 1, -1, -1) if done[at].sha == sha), len(done))
    older = [deploy.sha for deploy in done[:place] if deploy.sha != sha]
    if not older:
        raise NotFound(f"{agent} had nothing else deployed before", f"see `hive history {agent}`")
    return older[-1]

"""What a proposal changes, and what changed between two commits of an agent."""

from __future__ import annotations

from meta.agent_toml.settings import SETTINGS_FILE, flatten, parse_settings
from meta.errors import HiveError, NotFound
from meta.model import Deploy, TagState
from meta.names import AgentName, ProposalId, Sha
from reconciler.apply.apply import Apply
from reconciler.observe.build_logs import BuildLogs
from reconciler.proposals.deploys import Deploys
from reconciler.views import Change, Diff
from reconciler.world import World

MOST_COMMITS = 10_000
"""Subjects of commits that the diff of one proposal names, so that they can be counted."""


class DiffsQuery:
    """The views of differences."""

    def __init__(self, world: World, apply: Apply, deploys: Deploys, build_logs: BuildLogs) -> None:
        self._w = world
        self._apply = apply
        self._deploys = deploys
        self._build_logs = build_logs

    async def proposal(self, id: ProposalId, agent: AgentName | None = None) -> Diff:
        """Return what a proposal changes against what the agent has now (its applied/main). Raises NotFound.

        Of a pending one also what is wrong with its files, with every builder.
        """
        deploy = await self._deploys.find(id, agent)
        owner = deploy.agent
        applied, previews = self._w.applied(owner), self._w.previews
        base = deploy.base if deploy.state.terminal else await applied.main() or deploy.base
        patch = await applied.diff(base, deploy.sha)
        preview = previews.of(owner).get(id) if previews is not None else None
        complaint = preview.complaint if preview else None
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
            settings=await self._settings_between(owner, base, deploy.sha),
            files=_files(patch),
            patch=patch,
        )

    async def change(self, agent: AgentName, first: str | None = None, last: str | None = None) -> Change:
        """Return what changed from `first` to `last`: ids of the agent, or 7 to 40 digits of commits.

        None: from what was deployed before, to what is pinned now.
        """
        pin = (await self._deploys.entry(agent)).pin.sha
        deploys = await self._deploys.of(agent)
        after = await self._deploys.resolve(agent, deploys, last) if last else pin
        before = await self._deploys.resolve(agent, deploys, first) if first else _before(deploys, after, agent)
        applied = self._w.applied(agent)
        patch = await applied.diff(before, after)
        return Change(
            agent=agent,
            base=before,
            sha=after,
            commits=await applied.log(before, after),
            settings=await self._settings_between(agent, before, after),
            files=_files(patch),
            patch=patch,
        )

    async def _complaint(self, deploy: Deploy) -> str | None:
        if deploy.state is not TagState.PROPOSAL:
            return None
        return await self._apply.complaint(deploy.agent, deploy.sha)

    async def _settings_between(self, agent: AgentName, base: Sha | None, sha: Sha) -> tuple[tuple[str, str, str], ...]:
        before = await self._settings(agent, base) if base else {}
        after = await self._settings(agent, sha)
        return tuple(
            (key, before.get(key, ""), after.get(key, ""))
            for key in sorted({*before, *after})
            if before.get(key) != after.get(key)
        )

    async def _settings(self, agent: AgentName, sha: Sha) -> dict[str, str]:
        """Return agent.toml of a commit, flat; a file that is not valid shows as the one key `agent.toml`."""
        try:
            return flatten(parse_settings(await self._w.applied(agent).read(sha, SETTINGS_FILE), SETTINGS_FILE))
        except HiveError as error:
            return {SETTINGS_FILE: f"({error.summary})"}


def _files(patch: str) -> tuple[str, ...]:
    return tuple(line.split(" b/", 1)[1] for line in patch.splitlines() if line.startswith("diff --git "))


def _before(deploys: tuple[Deploy, ...], sha: Sha, agent: AgentName) -> Sha:
    """Return what was deployed before `sha`. Raises NotFound."""
    done = [deploy for deploy in deploys if deploy.state is TagState.DEPLOYED]
    place = next((at for at in range(len(done) - 1, -1, -1) if done[at].sha == sha), len(done))
    older = [deploy.sha for deploy in done[:place] if deploy.sha != sha]
    if not older:
        raise NotFound(f"{agent} had nothing else deployed before", f"see `hive history {agent}`")
    return older[-1]

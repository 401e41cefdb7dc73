"""Commands about the way out: allow an agent a host for a time or for good, take that back, deny or take a request.

A grant is recorded in meta's branch `run`, pushed to hive-egress, and only then answered: the answer to the operator
and the message to the agent come once the rule is in force. If hive-egress does not answer, the grant stays recorded
and comes into force by itself; then reconciler.network.answers sends the message.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

from meta.agent_toml.allow import with_rule
from meta.agent_toml.settings import SETTINGS_FILE
from meta.desired import trailers
from meta.desired.changes import RunNote
from meta.errors import BadInput, Conflict, HiveError, NotFound, Refused, TransientError
from meta.model import NetworkGrant, RunEntry, TagState
from meta.names import AgentName
from meta.network.rule import Rule, authority, beyond, canonical_host, covers, parse_rule
from meta.proposed.settings import read_settings
from reconciler.apply.effects import effect
from reconciler.network.answers import Answers, moment
from reconciler.network.policy import Operator
from reconciler.network.ports import Obeyed
from reconciler.network.reach import RuleRow, containing, covering, in_force, private_note, reach_of, require_open
from reconciler.network.requests import NetworkRequest, Requests
from reconciler.network.views import NetworkAllowed, NetworkChanged
from reconciler.observe.settings import DeployedSettings
from reconciler.proposals.deploys import Deploys
from reconciler.proposals.settings_edit import SettingsEdit
from reconciler.world import World

SECONDS_LEAST = 1
SECONDS_MOST = 30 * 24 * 3600
"""Seconds for which a host may be allowed."""
GRANTS_MOST = 100
"""Grants in force of one agent: at most this many."""
PORT_MOST = 65_535
_WHOLE = "see `hive network {agent}`"


class Grants:
    """The commands. `settings` has the agent.toml of each agent, as it is deployed."""

    def __init__(
        self,
        world: World,
        deploys: Deploys,
        settings: DeployedSettings,
        edits: SettingsEdit,
        way_out: Obeyed,
        requests: Requests,
        answers: Answers,
    ) -> None:
        self._world = world
        self._deploys = deploys
        self._settings = settings
        self._edits = edits
        self._way_out = way_out
        self._requests = requests
        self._answers = answers
        self._changing: defaultdict[AgentName, asyncio.Lock] = defaultdict(asyncio.Lock)

    # the operator's
    async def allow(self, agent: AgentName, what: str, seconds: int, by: str) -> NetworkAllowed:
        """Allow the agent a rule, or what a request (its number) asks for, for some seconds. Return once that is live.

        A grant of the same rule is replaced. Raise BadInput, Conflict (its agent.toml allows that already), Refused
        (beyond the ceiling), TransientError (recorded, but hive-egress does not answer).
        """
        if not SECONDS_LEAST <= seconds <= SECONDS_MOST:
            raise BadInput(f"{seconds} s is no time to allow a host for", "from 1 s to 30 days: `--for 30d`")
        rule, request = await self._rule(agent, what)
        async with self._changing[agent]:
            await self._require_new(agent, rule)
            await self._answers.record_ended(agent)
            now = self._world.now()
            grant = NetworkGrant(rule.text, now + seconds, by, now, request)
            await self._commit(agent, _adding(agent, grant), by, _allowing(grant))
            await self._push(f"{agent} may reach {rule.text} until {moment(grant.until)}", agent)
            answered = await self._answers.settle(agent)
        notes = private_note(rule, self._operator().file)
        return NetworkAllowed(agent, rule.text, grant.until, answered=tuple(answered), notes=notes)

    async def propose(self, agent: AgentName, what: str, by: str) -> NetworkAllowed:
        """Propose an agent.toml that allows the rule for good. Raise as `allow` does, Occupied if an edit waits."""
        rule, _ = await self._rule(agent, what)
        await self._require_new(agent, rule)
        before = await self._edits.text(agent)
        await read_settings(before.text.encode())  # its shape is bounded: the edit parses it again here
        text = await asyncio.to_thread(with_rule, before.text, rule.text)
        deploy = await self._edits.propose(agent, by, text, f"allow {rule.text}", base=before.base)
        notes = (*private_note(rule, self._operator().file), *await self._others(agent, deploy.id))
        return NetworkAllowed(agent, rule.text, proposal=deploy.id, notes=notes)

    async def revoke(self, agent: AgentName, what: str, by: str) -> NetworkChanged:
        """Take back a grant. Return once hive-egress ended what went over it. Raise NotFound, TransientError."""
        rule = parse_rule(what)
        async with self._changing[agent]:
            grants = in_force(await self._grants(agent), self._world.clock())
            if rule.text not in {grant.rule for grant in grants}:
                raise await self._not_granted(agent, rule, grants)
            await self._answers.record_ended(agent)
            words = RunNote(trailers.NETWORK_REVOKE, {trailers.RULE: rule.text})
            await self._commit(agent, lambda run: _without(run, rule.text, self._world.clock()), by, words)
            await self._world.events.append("network_revoked", agent, {"rule": rule.text, "by": by})
            await self._push(f"{rule.text} is taken back from {agent}", agent)
        return NetworkChanged(
            agent, rule.text, f"{agent} may not reach {rule.text} any more, unless another rule has it"
        )

    async def deny(self, agent: AgentName, request: int, by: str, reason: str = "") -> NetworkChanged:
        """Deny a pending request, and answer the agent. Raise NotFound, Conflict."""
        await self._deploys.entry(agent)
        denied = await self._requests.deny(agent, request, by, reason)
        return NetworkChanged(agent, denied.rule, f"request {request} of {agent} for {denied.rule} is denied")

    # the agent's
    async def request(self, agent: AgentName, host: str, port: int, why: str) -> NetworkRequest:
        """Ask the operator for a host and a port. Return the pending request.

        Raise BadInput, Conflict (it is allowed already), Refused (beyond the ceiling, or denied a moment ago).
        """
        if not 1 <= port <= PORT_MOST:
            raise BadInput(f"{port} is no port", "a port is 1 to 65535; https has 443, ssh 22")
        name = canonical_host(host)
        operator = self._operator()
        if operator.ceiling is not None and not covers(operator.ceiling, name, port):
            raise Refused(
                f"{authority(name, port)} is beyond what the operator lets any agent of this host reach",
                "nobody can allow it by a request; do without it",
            )
        require_open(name, port, operator.file)
        row = covering(await self.reach(agent), name, port)
        if row is not None:
            until = f", until {moment(row.until)}" if row.until is not None else ""
            raise Conflict(
                f"{authority(name, port)} is allowed already{until}", "connect; if that fails, the host is at fault"
            )
        return await self._requests.ask(agent, name, port, why)

    async def reach(self, agent: AgentName) -> tuple[RuleRow, ...]:
        """Return every rule of the agent."""
        settings = await self._settings.of(agent)
        return reach_of(agent, settings, self._operator(), await self._grants(agent), self._world.clock())

    # helpers
    def _operator(self) -> Operator:
        network = self._world.network
        return Operator(network.file(), network.ceiling())

    async def _grants(self, agent: AgentName) -> tuple[NetworkGrant, ...]:
        await self._deploys.entry(agent)
        return (await self._deploys.desired()).run_of(agent).grants

    async def _rule(self, agent: AgentName, what: str) -> tuple[Rule, int | None]:
        """Return the rule of a text, or that of the pending request with this number, within the ceiling."""
        await self._deploys.entry(agent)
        request = int(what) if what.isascii() and what.isdigit() and len(what) < 19 else None
        text = what if request is None else (await self._requests.pending_one(agent, request)).rule
        rule = parse_rule(text)
        operator = self._operator()
        ceiling = operator.ceiling
        require_open(rule.host, rule.ports[0] if len(rule.ports) == 1 else None, operator.file)
        if beyond([rule], ceiling):
            above = " ".join(each.text for each in ceiling or ()) or "nothing"
            raise Refused(
                f"{rule.text} is beyond the ceiling of this host, which is: {above[:200]}",
                "HIVE_NETWORK_CEILING is the operator's; see docs/reference/network.md",
            )
        return rule, request

    async def _require_new(self, agent: AgentName, rule: Rule) -> None:
        row = containing(await self.reach(agent), rule)
        if row is not None:
            raise Conflict(
                f"{agent} may reach {rule.text} already, for good: {row.source} has {row.rule}", "nothing to do"
            )

    async def _commit(self, agent: AgentName, change: Callable[[RunEntry], RunEntry], by: str, words: RunNote) -> None:
        with effect("commit-run"):
            await self._world.meta.set_run(agent, change, by=by, at=self._world.now(), words=words)
        await self._world.observer.desired(or_last=True)

    async def _push(self, what: str, agent: AgentName) -> None:
        try:
            await self._way_out.push()
        except HiveError as error:
            raise TransientError(
                f"{what}: that is recorded, but not in force yet: {error.summary}",
                f"it comes into force by itself once hive-egress answers; {_WHOLE.format(agent=agent)}",
            ) from error

    async def _not_granted(self, agent: AgentName, rule: Rule, grants: tuple[NetworkGrant, ...]) -> HiveError:
        row = containing(await self.reach(agent), rule)
        if row is not None:
            return Conflict(
                f"{rule.text} is not allowed for a time but for good: {row.source} has {row.rule}",
                f"`hive edit {agent}` takes it out, as a proposal",
            )
        there = ", ".join(grant.rule for grant in grants) or "none"
        return NotFound(f"{agent} has no grant of {rule.text}; its grants are: {there}", _WHOLE.format(agent=agent))

    async def _others(self, agent: AgentName, own: int) -> tuple[str, ...]:
        """Name the other pending proposals that change agent.toml too."""
        applied = self._world.applied(agent)
        main = await applied.read(await self._deploys.main(agent), SETTINGS_FILE)
        notes = []
        for deploy in await self._deploys.of(agent):
            if deploy.state is not TagState.PROPOSAL or deploy.id == own:
                continue
            if await applied.read(deploy.sha, SETTINGS_FILE) != main:
                notes.append(f"proposal {deploy.id} changes agent.toml too: once one is deployed, rebase the other")
        return tuple(notes)


def _adding(agent: AgentName, grant: NetworkGrant) -> Callable[[RunEntry], RunEntry]:
    def change(run: RunEntry) -> RunEntry:
        kept = _without(run, grant.rule, grant.at).grants
        if len(kept) >= GRANTS_MOST:
            raise Conflict(
                f"{agent} has {GRANTS_MOST} grants in force, which is the limit", f"`hive network revoke {agent} RULE`"
            )
        return replace(run, grants=(*kept, grant))

    return change


def _without(run: RunEntry, rule: str, now: float) -> RunEntry:
    """Return the entry without the grants of a rule, and without those that have ended."""
    return replace(run, grants=tuple(each for each in run.grants if each.until > now and each.rule != rule))


def _allowing(grant: NetworkGrant) -> RunNote:
    values = {trailers.RULE: grant.rule, trailers.UNTIL: str(grant.until)}
    if grant.request is not None:
        values[trailers.REQUEST] = str(grant.request)
    return RunNote(trailers.NETWORK_ALLOW, values)

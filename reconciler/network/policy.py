"""The policy of each agent, from its agent.toml, the operator's file and ceiling, and the grants for a time. Pure.

A fact that cannot be read gives nothing: an entry that is no rule, and a group that the operator removed, are left out
and said so. The policy has the rules beyond the ceiling too, because hive-egress itself applies the ceiling and then
names it as the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from meta.agent_toml.settings import AgentSettings
from meta.errors import BadInput
from meta.model import NetworkGrant
from meta.names import AgentName
from meta.network.operator_file import OperatorFile
from meta.network.policy import POLICY_LIMIT, RULES_LIMIT, AgentPolicy, Grant, Policy, encode_policy
from meta.network.routes import model_route
from meta.network.rule import Rule, beyond, parse_rule
from meta.network.runtime_hosts import runtime_rules

NAMED = 3
"""Rules that one problem names, at most."""


@dataclass(frozen=True, slots=True)
class Operator:
    """What the operator set: the file, and the ceiling (None: there is none)."""

    file: OperatorFile = field(default_factory=OperatorFile)
    ceiling: tuple[Rule, ...] | None = None


@dataclass(frozen=True, slots=True)
class Needs:
    """What one agent may have. `settings` are those of the commit that it runs with, None if they are not known: then
    it has its grants alone. `held` closes its keys. `identity` tells it from an earlier agent of its name.
    """

    settings: AgentSettings | None
    grants: tuple[NetworkGrant, ...] = ()
    held: str = ""
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """An agent's policy, and what of its configuration is not in force, in words."""

    policy: AgentPolicy
    problems: tuple[str, ...] = ()


def judge(agent: AgentName, needs: Needs, operator: Operator, now: float) -> Judgement:
    """Return the policy of an agent."""
    file, problems = operator.file, list[str]()
    own, left_out = _expand(file, needs.settings.network.allow if needs.settings is not None else ())
    if left_out:
        problems.append(f"network.allow: {left_out}")
    defaults = default_rules(agent, needs.settings, file)
    grants = tuple(_grants(needs.grants, now))
    rules = tuple(dict.fromkeys((*defaults, *own)))
    most = RULES_LIMIT - min(len(grants), RULES_LIMIT)
    if len(rules) > most:
        problems.append(f"network.allow: {len(rules)} rules, of which the first {most} count (groups expanded)")
    if above := beyond(defaults, operator.ceiling):
        problems.append(f"the operator's ceiling leaves out what its runtime needs: {_named(above)}")
    granted = [grant.rule for grant in grants]
    if above := beyond(dict.fromkeys(rule for rule in (*own, *granted) if rule not in defaults), operator.ceiling):
        problems.append(f"the operator's ceiling leaves out {_named(above)}")
    policy = AgentPolicy(
        rules[:most],
        grants[:RULES_LIMIT],
        frozenset(file.kinds(agent) if needs.settings is not None else ()),
        needs.held,
        file.connections,
        file.bytes_per_second,
        needs.identity,
    )
    return Judgement(policy, tuple(problems))


def default_rules(agent: AgentName, settings: AgentSettings | None, file: OperatorFile) -> tuple[Rule, ...]:
    """Return what the agent may reach because of its runtime."""
    if settings is None or not settings.network.defaults:
        return ()
    return runtime_rules(settings.runtime, key_outside=bool(model_route(settings.runtime, file.kinds(agent))))


def fit(
    agents: Mapping[AgentName, AgentPolicy], keep: frozenset[AgentName] = frozenset(), most: int = POLICY_LIMIT
) -> tuple[Policy, frozenset[AgentName]]:
    """Return the policy of all agents, within `most` bytes, and the agents whose rules did not fit.

    The largest ones lose their rules: without that one agent's would keep those of all others away. `keep` are the
    agents whose last policy hive-egress goes on with.
    """
    policy, cut = Policy(dict(agents), keep), set[AgentName]()
    if len(encode_policy(policy)) <= most:
        return policy, frozenset()
    kept = dict(agents)
    for agent in sorted(agents, key=lambda name: len(encode_policy(Policy({name: agents[name]}))), reverse=True):
        kept[agent] = replace(kept[agent], rules=())
        cut.add(agent)
        if len(encode_policy(policy := Policy(kept, keep))) <= most:
            break
    return policy, frozenset(cut)


def _expand(file: OperatorFile, entries: Iterable[str]) -> tuple[list[Rule], str]:
    """Return the rules of the entries that can be expanded, and why another one cannot."""
    rules: list[Rule] = []
    why = ""
    for entry in entries:
        try:
            rules += file.expand([entry])
        except BadInput as error:
            why = why or error.describe()
    return rules, why


def _grants(grants: Iterable[NetworkGrant], now: float) -> Iterable[Grant]:
    for grant in grants:
        if grant.until <= now:
            continue
        try:
            yield Grant(parse_rule(grant.rule), float(grant.until))
        except BadInput:  # run.json is hive's own; a rule of a newer hive gives nothing
            continue


def _named(rules: list[Rule]) -> str:
    more = f" and {len(rules) - NAMED} more" if len(rules) > NAMED else ""
    return ", ".join(rule.text for rule in rules[:NAMED]) + more

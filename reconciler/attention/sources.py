"""The sources of the attention list: for each kind of row one function of the facts. Pure.

A title has only hive's own words, numbers and names of agents: it is sent away by notifications. What an agent or a
pusher wrote belongs into the detail.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from meta.agent_toml.logins import has_driven_login
from meta.model import Deploy, DeployKind
from meta.names import AgentName, ProposalId
from meta.text import quoted
from reconciler.attention.facts import Alarm, Facts
from reconciler.plan.phases import PHASES, UP
from reconciler.views import AgentStatus, Card

LONG_WAIT = 75.0
"""Seconds that a parked agent waits once several tries in a row failed, or that the limit of an account lasts."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A row without its kind and severity. `key` is unique among those of its kind.

    `command` only shows: it changes nothing, so that it can be run unread. What mends is the `remedy`, with which the
    detail ends. `since` None: the time is unknown, and the row counts from when hive first saw it.
    `observed`: `since` is when this daemon began to observe it, so an earlier sight of it counts.
    """

    key: str
    title: str
    command: str
    detail: str = ""
    agent: AgentName | None = None
    since: float | None = None
    remedy: str = ""
    observed: bool = False


# the daemon
def disk(facts: Facts) -> Iterator[Draft]:
    """Yield a row while the disk is full."""
    return _alarms(facts.alarms.disk, "the disk is full, hive cannot record much", "hive status")


def meta(facts: Facts) -> Iterator[Draft]:
    """Yield a row while meta cannot be read, so that hive changes nothing."""
    return _alarms(facts.alarms.meta, "what is desired cannot be read, hive changes nothing", "hive doctor")


def tasks(facts: Facts) -> Iterator[Draft]:
    """Yield the background tasks that ended, or whose last round failed."""
    for alarm in facts.alarms.tasks:
        yield Draft(alarm.key, f"the daemon's task {alarm.key} fails", "hive status", alarm.text, since=alarm.since)


def descriptors(facts: Facts) -> Iterator[Draft]:
    """Yield a row while the daemon has no file descriptor left."""
    return _alarms(facts.alarms.descriptors, "the daemon has no file descriptor left", "hive status")


def locks(facts: Facts) -> Iterator[Draft]:
    """Yield the locks in meta that a killed git left."""
    for alarm in facts.alarms.locks:
        yield Draft(_digest(alarm.text), "a lock of a killed git blocks meta", "hive doctor", alarm.text)


def set_aside(facts: Facts) -> Iterator[Draft]:
    """Yield the damaged databases that were replaced and not moved away."""
    return _alarms(facts.alarms.set_aside, "the database was damaged, a new one is in its place", "hive doctor")


def no_manager(facts: Facts) -> Iterator[Draft]:
    """Yield a row while there is no manager."""
    return _alarms(facts.alarms.no_manager, "there is no manager", "hive status")


def watching(facts: Facts) -> Iterator[Draft]:
    """Yield a row while proposed repos cannot be watched."""
    return _alarms(facts.alarms.watching, "proposed repos cannot be watched, hive looks every second", "hive doctor")


def way_out(facts: Facts) -> Iterator[Draft]:
    """Yield what is wrong with the way out of the agents: hive-egress, the operator's file, a key."""
    for alarm in facts.alarms.way_out:
        yield Draft(_digest(alarm.text), "the agents' way out has a problem", "hive doctor", alarm.text)


def dashboard(facts: Facts) -> Iterator[Draft]:
    """Yield what keeps the dashboard from being served, or will."""
    return _alarms(facts.alarms.dashboard, "the dashboard has a problem", "hive doctor")


def rollout(facts: Facts) -> Iterator[Draft]:
    """Yield the rebuild of all agents that ended at one that failed."""
    last = facts.rollout
    if last is not None and last.failed is not None:
        yield Draft(
            last.id,
            f"the rebuild of all agents ended: {last.failed} failed",
            f"hive plan {last.failed}",
            last.describe(),
            last.failed,
            last.at,
            "`hive rebuild --all --stale` goes on",
        )


# agents
def failed(facts: Facts) -> Iterator[Draft]:
    """Yield the agents that crashed too often, or were never made."""
    for row in facts.agents:
        if row.phase in ("failed", "rollback-failed"):
            command = _diff(ProposalId(0), row.agent) if _never_made(row) else f"hive logs {row.agent}"
            yield _agent(row, f"{row.agent} failed, hive tries nothing more", command)


def failed_deploys(facts: Facts) -> Iterator[Draft]:
    """Yield the newest ids that failed, unless the row of their agent shows that already."""
    shown = {row.agent for row in facts.agents if row.phase == "rollback-failed" or _never_made(row)}
    for deploy in facts.failed:
        if deploy.agent in shown:
            continue
        agent, id = deploy.agent, deploy.id
        what = f"the spawn of {agent} failed" if deploy.kind is DeployKind.SPAWN else f"deploy {id} of {agent} failed"
        yield Draft(
            f"{agent}:{id}",
            what,
            _diff(id, agent),
            deploy.reason or "no reason was recorded",
            agent,
            deploy.resolved_at,
            f"`{_again(deploy)}` tries it again",
        )


def damaged(facts: Facts) -> Iterator[Draft]:
    """Yield the agents of which a file is damaged."""
    for row in facts.agents:
        if row.phase == "damaged":
            yield _agent(row, f"a file that hive keeps about {row.agent} is damaged", "hive doctor")


def held(facts: Facts) -> Iterator[Draft]:
    """Yield the agents whose tags and meta contradict each other."""
    for row in facts.agents:
        if row.phase == "disagrees":
            yield _agent(row, f"{row.agent} is held: meta and its tags disagree", f"hive plan {row.agent}")


def over_disk(facts: Facts) -> Iterator[Draft]:
    """Yield the agents that are stopped because of the size of their files."""
    for row in facts.agents:
        if row.phase == "over-disk":
            yield _agent(row, f"{row.agent} is stopped: its files exceed its limit", f"hive plan {row.agent}")


def needs_login(facts: Facts) -> Iterator[Draft]:
    """Yield the agents whose coding agent has no login. Their messages wait."""
    for row in facts.agents:
        if row.phase == "needs-login":
            yield _agent(row, f"{row.agent} needs a login to take turns", f"hive plan {row.agent}")


def no_program(facts: Facts) -> Iterator[Draft]:
    """Yield the agents whose coding agent does not start. Their harness looks for it each minute, between two waits."""
    for row in facts.agents:
        if row.phase in UP and row.runtime_problem:
            what = f"{row.agent} takes no turns: its coding agent is missing, too old or does not start"
            how = "`hive doctor` has the command that installs it; the agent then goes on within a minute"
            command = f"hive plan {row.agent}"
            yield Draft(row.agent, what, command, row.runtime_problem, row.agent, row.since, how, True)


def refused_by_model(facts: Facts) -> Iterator[Draft]:
    """Yield the agents that wait for what only a person can mend: a wrong model, or an account without credit."""
    for row in facts.agents:
        if row.phase == "parked" and row.turn_person and not row.runtime_problem:
            what = f"{row.agent} takes no turns: its model or account is refused, by its own words"
            how = f"`hive model {row.agent} NAME` sets another model; it tries again by itself, too"
            yield Draft(row.agent, what, f"hive plan {row.agent}", row.turn_reason, row.agent, row.since, how, True)


def parked(facts: Facts) -> Iterator[Draft]:
    """Yield the agents that wait long for a limit or an outage to pass. All their messages wait."""
    for row in facts.agents:
        if row.runtime_problem or row.turn_person:
            continue
        if row.phase != "parked" or row.turn_until is None or row.state_since is None:
            continue
        if row.turn_until - row.state_since >= LONG_WAIT:
            what = f"{row.agent} takes no turns: its model does not answer, or refuses them"
            login = f"`hive login {row.agent}`" if has_driven_login(row.runtime) else "its key: docs/howto/login.md"
            how = (
                f"it tries again by itself; a wrong model or key waits for you: `hive model {row.agent} NAME`, {login}"
            )
            yield Draft(row.agent, what, f"hive plan {row.agent}", row.turn_reason, row.agent, row.since, how, True)


def over_budget(facts: Facts) -> Iterator[Draft]:
    """Yield the agents whose budget of the day is used up. The numbers are what they claim themselves."""
    for agent, over in sorted(facts.over_budget.items()):
        what = f"the budget of {agent} for today is used up"
        how = f"it goes on by itself at midnight (UTC), or once `hive edit {agent}` gives it more"
        yield Draft(agent, what, f"hive usage {agent}", over.reason, agent, over.since, how)


def stuck(facts: Facts) -> Iterator[Draft]:
    """Yield the agents whose turn takes longer than it may."""
    for row in facts.agents:
        limit = None if row.turn_since is None or row.turn_limit is None else row.turn_since + row.turn_limit
        if limit is not None and facts.now >= limit:
            what = f"the turn of {row.agent} takes longer than it may"
            how = f"hive ends it by itself; `hive restart {row.agent} --now` does that at once"
            yield Draft(row.agent, what, f"hive plan {row.agent}", "", row.agent, limit, how)


def errors(facts: Facts) -> Iterator[Draft]:
    """Yield the agents whose steps fail again and again."""
    for agent, error in facts.errors.items():
        yield Draft(agent, f"a step for {agent} fails again and again", f"hive plan {agent}", error, agent)


def conditions(facts: Facts) -> Iterator[Draft]:
    """Yield what else is known about agents' repos and files."""
    for agent, texts in facts.conditions.items():
        for text in texts:
            key = f"{agent}:{_digest(text)}"
            yield Draft(key, f"{agent} has a condition to look at", f"hive plan {agent}", text, agent)


# what waits for a decision
def proposals(facts: Facts) -> Iterator[Draft]:
    """Yield the proposals that can be approved now."""
    for card in facts.proposals:
        if not _is_stale(facts, card):
            what = "the spawn" if card.kind == "spawn" else f"proposal {card.id}"
            yield _proposal(card, f"{what} of {card.agent} waits for your decision")


def stale_proposals(facts: Facts) -> Iterator[Draft]:
    """Yield the proposals that must be rebased first."""
    for card in facts.proposals:
        if _is_stale(facts, card):
            draft = _proposal(card, f"proposal {card.id} of {card.agent} is stale: rebase it, or deny it")
            yield replace(draft, remedy=f"`hive rebase {card.id}` or `hive deny {card.id}`")


def questions(facts: Facts) -> Iterator[Draft]:
    """Yield the open questions to the operator."""
    for each in facts.questions:
        title, command = f"question {each.id} of {each.asker} waits for your answer", f"hive questions {each.id}"
        yield Draft(str(each.id), title, command, each.question, AgentName(each.asker), each.asked_at)


def network_requests(facts: Facts) -> Iterator[Draft]:
    """Yield the pending requests of agents for a host. The host is the agent's word, so it is not in the title."""
    for each in facts.requests:
        agent = AgentName(each.agent)
        title = f"{agent} asks for a host (request {each.id}), which waits for your decision"
        how = f"`hive network allow {agent} {each.id} --for 1h` or `hive network deny {agent} {each.id}`"
        detail = f"{each.rule}, it says: {quoted(each.why)}"
        yield Draft(str(each.id), title, f"hive network {agent}", detail, agent, each.asked_at, how)


def copied_passkeys(facts: Facts) -> Iterator[Draft]:
    """Yield the passkeys whose counter went back. Names are people's words, so the title has none."""
    for each in facts.copied:
        remedy = f"`hive dashboard passkeys --remove {each.id}`, then add another one"
        detail = f"{quoted(each.name)} of {each.owner}: its counter went back"
        title = "a passkey may have been copied"
        yield Draft(each.id, title, "hive dashboard passkeys", detail, None, each.refused_at, remedy)


def dead_letters(facts: Facts) -> Iterator[Draft]:
    """Yield the messages that were given up."""
    for letter in facts.dead_letters:
        yield Draft(
            str(letter.id),
            f"message {letter.id} to {letter.recipient} was given up",
            "hive dead-letters",
            f"from {letter.sender}",
            AgentName(letter.recipient),
            letter.dead_at,
            f"`hive dead-letters --revive {letter.id}` tries it again, `--discard {letter.id}` drops it",
        )


def refused(facts: Facts) -> Iterator[Draft]:
    """Yield the branches whose commit is no proposal."""
    for tip in facts.refused:
        detail = f"{tip.source} at {tip.commit[:12]}: {tip.reason}; {tip.remedy}"
        key = f"{tip.agent}:{_digest(f'{tip.source}@{tip.commit}')}"
        yield Draft(key, f"a commit for {tip.agent} was refused as a proposal", "hive pending", detail, tip.agent)


def messages(facts: Facts) -> Iterator[Draft]:
    """Yield one row for all unread messages."""
    number, oldest = facts.unread
    if number:
        title = "1 unread message to you" if number == 1 else f"{number} unread messages to you"
        yield Draft("operator", title, "hive inbox", since=oldest)


def _alarms(alarms: Iterable[Alarm], title: str, command: str) -> Iterator[Draft]:
    for alarm in alarms:
        yield Draft(alarm.key, title, command, alarm.text, since=alarm.since)


def _agent(row: AgentStatus, title: str, command: str) -> Draft:
    return Draft(row.agent, title, command, _why(row), row.agent, row.since, row.remedy or "", True)


def _why(row: AgentStatus) -> str:
    """Return why the agent is in its phase: the plan says nothing of that if it has nothing to do."""
    return PHASES[row.phase] if row.reason in ("", "as desired") else row.reason


def _proposal(card: Card, title: str) -> Draft:
    id: ProposalId = card.id
    subject = (card.description or "").strip().partition("\n")[0]  # its card has the rest
    return Draft(f"{card.agent}:{id}", title, _diff(id, card.agent), subject, card.agent, card.requested_at)


def _diff(id: ProposalId, agent: AgentName) -> str:
    return f"hive diff {id}" if id else f"hive diff 0 --agent {agent}"


def _again(deploy: Deploy) -> str:
    match deploy.kind:
        case DeployKind.SPAWN:
            return f"hive spawn {deploy.agent}"
        case DeployKind.ROLLBACK:
            return f"hive rollback {deploy.agent}"
        case _:
            return f"hive retry {deploy.id}"


def _never_made(row: AgentStatus) -> bool:
    return row.phase == "failed" and row.deployed is None


def _is_stale(facts: Facts, card: Card) -> bool:
    return card.id in facts.stale.get(card.agent, frozenset())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:12]

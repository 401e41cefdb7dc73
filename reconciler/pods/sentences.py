"""Reports of agents' own pods in one line each, for the manager. Pure. All names and texts in them are the agent's."""

from __future__ import annotations

from dataclasses import dataclass

from meta.names import AgentName
from meta.text import one_line
from meta.wire.pod import Errored, PodEvent, ScopeSubDelegated, ShutDown, TurnEnded

NAME_LIMIT = 64
TEXT_LIMIT = 300
RULES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Told:
    """A report that the manager may get. `detail` tells two of one kind in one turn apart."""

    kind: str
    text: str
    detail: str = ""


def told(agent: AgentName, event: PodEvent) -> Told | None:
    """Return the report in words; None if it is not of the agent's own pod: a sub-agent's are for its parent."""
    match event:
        case TurnEnded(pod_name=name) if name == agent:
            return Told(event.kind, f"{agent} has finished a turn.")
        case Errored(pod_name=name, message=message) if name == agent:
            return Told(event.kind, f"A turn of {agent} failed. It says: {one_line(message, TEXT_LIMIT)}")
        case ShutDown(pod_name=name) if name == agent:
            return Told(event.kind, f"{agent} has stopped.")
        case ScopeSubDelegated(parent_pod=parent) if parent == agent:
            text = f"{agent} says that its sub-agent {_name(event.sub_pod)} has {_scope(event)}."
            return Told(event.kind, text, text)
        case _:
            return None


def _name(text: str) -> str:
    return one_line(text, NAME_LIMIT)


def _scope(event: ScopeSubDelegated) -> str:
    shown = [f"{rule.permission} {one_line(rule.target, 100)}" for rule in event.scope[:RULES_SHOWN]]
    more = len(event.scope) - len(shown)
    return ", ".join([*shown, *([f"and {more} more"] if more else [])]) or "no scope"

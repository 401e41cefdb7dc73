"""The pods of an agent on its page: a tree, and what one does about each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from pydantic import Field

from api.operations.base import AgentField, Call
from api.operations.pods import OnePod, PodDo, pod_do
from api.ui.acting import do
from api.ui.page import Action, Done
from api.words import pods as words
from reconciler.views import AgentStatus, PodView

KINDS: Mapping[str, str] = {"running": "ok", "paused": "warn", "unreachable": "bad"}
"""The colour of each state that has one."""
SHOWN = 64
BUTTONS: Mapping[str, tuple[str, ...]] = {"running": ("pause", "cancel"), "paused": ("resume", "cancel")}
VERBS: Mapping[str, str] = {"pause": "Pause", "resume": "Resume", "cancel": "Cancel"}
DONE = {"pause": "{} is paused.", "resume": "{} goes on with its run.", "cancel": "The run of {} is cancelled."}
DEEPEST = 3
"""How far a row is indented on a page."""


@dataclass(frozen=True, slots=True)
class Row:
    """A pod. `verbs` are the methods that have a button, with their words."""

    pod: PodView
    depth: int
    state: str
    kind: str
    last: str
    verbs: tuple[tuple[str, str], ...]


def rows_of(row: AgentStatus) -> tuple[Row, ...]:
    """Return the pods of an agent, each sub-agent below its parent; none if they say no more than its head."""
    found: Sequence[words.Row] = [asdict(pod) for pod in row.pods[:SHOWN]]
    return tuple(_row(row, depth, PodView(**pod)) for depth, pod in words.tree(found)) if _says(row, found) else ()


def _says(row: AgentStatus, found: Sequence[words.Row]) -> bool:
    """Return True if there is more than the agent's own pod, or that is paused otherwise than the head says."""
    return len(found) > 1 or (words.says_something(found) and not row.paused)


def _row(row: AgentStatus, depth: int, pod: PodView) -> Row:
    own = not pod.parent
    verbs = BUTTONS.get(pod.state, ())
    if own:  # the head has the buttons for what hive records
        verbs = tuple(verb for verb in verbs if pod.state == "paused" and not row.paused)
    shown = asdict(pod)
    return Row(
        pod,
        min(depth, DEEPEST),
        words.state(shown),
        KINDS.get(pod.state, ""),
        words.last_turn(shown),
        tuple((verb, VERBS[verb]) for verb in verbs),
    )


class PodAct(OnePod):
    """What to do about a pod."""

    agent: AgentField
    method: Literal["pause", "resume", "cancel"] = Field(description="what its button does")


async def _act(call: Call, asked: PodAct) -> Done:
    await do(call, pod_do, PodDo(agent=asked.agent, pod=asked.pod, method=asked.method))
    return Done(DONE[asked.method].format(asked.pod))


POD_ACTION = Action("/agents/{agent}/pods/{pod}/{method}", PodAct, _act)

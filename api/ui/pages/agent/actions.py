"""What a person does about the turns of one agent."""

from __future__ import annotations

from collections.abc import Mapping

from api.operations.base import Call, Operation
from api.operations.lifecycle import Named
from api.operations.turns import cancel, compact, new_session, pause, resume
from api.ui.acting import do
from api.ui.page import Action, AnyAction, Done
from meta.text import one_line
from reconciler.views import TurnResult

DONE = {
    "pause": "{} takes no turn until it is resumed.",
    "resume": "{} takes turns again.",
    "cancel": "The turn of {} is cancelled.",
    "compact": "{} compacts its context.",
    "new-session": "{} begins a new session with its next turn.",
}
"""What is said if neither hive nor the agent's harness says more."""

VERBS: Mapping[str, Operation[Named, TurnResult]] = {
    "pause": pause,
    "resume": resume,
    "cancel": cancel,
    "compact": compact,
    "new-session": new_session,
}
"""What can be done about the turns, by a button or by a command."""


def said(result: TurnResult) -> str:
    """Return what was done in a sentence: the daemon's or the harness's words, if there are any."""
    words = one_line(result.text)
    return f"{result.agent}: {words}" if words else DONE[result.accepted].format(result.agent)


def turn_action(verb: str, operation: Operation[Named, TurnResult]) -> AnyAction:
    """Return the action that does something about the turns of an agent."""

    async def act(call: Call, asked: Named) -> Done:
        return Done(said(await do(call, operation, asked)))

    return Action(f"/agents/{{agent}}/turn/{verb}", Named, act)


TURN_ACTIONS = tuple(turn_action(verb, operation) for verb, operation in VERBS.items())

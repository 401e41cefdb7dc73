"""The box at the foot of an agent's page: a message to it, or a command that begins with a slash."""

from __future__ import annotations

from pydantic import Field

from api.operations.base import Call
from api.operations.lifecycle import Named
from api.operations.messages import SendInput, send
from api.operations.turns import ModelInput, model, set_model
from api.ui.acting import do
from api.ui.page import Action, Done
from api.ui.pages.agent.actions import VERBS, said
from api.words.orders import HELP, Do, Explain, Send, SetModel, ShowModel, order_of
from meta.errors import BadInput
from reconciler.views import ModelStatus


class SayInput(Named):
    """What was typed. `key`: of two forms with one key only the first is sent."""

    text: str = Field(max_length=2**20)
    key: str | None = Field(None, min_length=1, max_length=200)


async def say(call: Call, asked: SayInput) -> Done:
    """Send a message, or do what a command says. Raise BadInput if it is neither."""
    order = order_of(asked.text)
    match order:
        case Send():
            await do(call, send, SendInput(to=asked.agent, body=order.body, key=asked.key))
            return Done(f"Sent to {asked.agent}.")
        case Do():
            return Done(said(await do(call, VERBS[order.verb], Named(agent=asked.agent))))
        case SetModel():
            result = await do(call, set_model, ModelInput(agent=asked.agent, name=order.name))
            return Done(said(result))
        case ShowModel():
            return Done(_model(await do(call, model, Named(agent=asked.agent))))
        case None:
            raise BadInput("there is nothing to send", f"type a message to {asked.agent}")
        case Explain() if order.lines == HELP:
            return Done("; ".join(" ".join(line.split()) for line in HELP[:-1]))
        case _:
            raise BadInput(
                f"{asked.text.strip()[:60]!r} is no command",
                "commands are /model, /compact, /new-session, /pause, /resume, /cancel; "
                "a message that begins with a slash is typed with two",
            )


def _model(status: ModelStatus) -> str:
    """Return the model of an agent in a sentence."""
    now = status.model or status.approved or "the runtime's default"
    where = "set by hand" if status.override else "as agent.toml says" if status.approved else "by default"
    return f"{status.agent} has {now}, {where}."


SAY = Action("/agents/{agent}/say", SayInput, say)

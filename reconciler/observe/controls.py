"""What operators ask of harnesses, and the answers: each control has an id, and waits for the `done` with that id."""

from __future__ import annotations

import asyncio
import secrets

from meta.errors import Conflict, TransientError
from meta.names import AgentName
from meta.wire.link import Control, Done, Verb
from reconciler.ports import LinkPeer

MOST = 8
"""Controls of one agent that wait at one time."""


class Controls:
    """The controls that wait. The text of a control can be a secret: it is in no error and no log."""

    def __init__(self) -> None:
        self._waiting: dict[AgentName, dict[str, asyncio.Future[Done | None]]] = {}

    async def ask(
        self, agent: AgentName, peer: LinkPeer | None, verb: Verb, text: str, seconds: float, *, is_old: bool
    ) -> Done:
        """Send the control and return the answer. `is_old`: the harness never named its runtime.

        Raise Conflict without a peer, TransientError if the answer does not come within `seconds`.
        """
        if peer is None:
            remedy = (
                f"it connects some seconds after a start of hive; `hive start {agent}` starts an agent that is stopped"
            )
            raise Conflict(f"no harness of {agent} is connected", remedy)
        waiting = self._waiting.setdefault(agent, {})
        if len(waiting) >= MOST:
            raise Conflict(f"{MOST} requests to the harness of {agent} wait already", "wait until they are answered")
        control = Control(id=secrets.token_hex(8), verb=verb, text=text)
        answer: asyncio.Future[Done | None] = asyncio.get_running_loop().create_future()
        waiting[control.id] = answer
        try:
            async with asyncio.timeout(seconds):
                await peer.send(control)
                done = await answer
        except TimeoutError as error:
            raise _unanswered(agent, verb, seconds, is_old) from error
        finally:
            waiting.pop(control.id, None)
            if not waiting:
                self._waiting.pop(agent, None)
        if done is None:
            raise TransientError(f"the link to the harness of {agent} broke before it answered", "try again")
        return done

    def answer(self, agent: AgentName, done: Done) -> None:
        """Give the answer to the control that waits for it, if there is one."""
        waiting = self._waiting.get(agent, {}).get(done.id)
        if waiting is not None and not waiting.done():
            waiting.set_result(done)

    def fail(self, agent: AgentName) -> None:
        """End every control of the agent: the connection is lost, so no answer comes."""
        for waiting in self._waiting.get(agent, {}).values():
            if not waiting.done():
                waiting.set_result(None)


def _unanswered(agent: AgentName, verb: Verb, seconds: float, is_old: bool) -> TransientError:
    summary = f"the harness of {agent} did not answer `{verb}` within {seconds:g} s"
    if is_old:
        return TransientError(f"{summary}: it may be of an older hive", f"`hive rebuild {agent}` gives it this one")
    return TransientError(summary, f"see `hive logs {agent}`, and try again")

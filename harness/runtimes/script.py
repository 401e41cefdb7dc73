"""The runtime without a model: rules from agent.toml, the first match wins. For tests and demonstrations."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from harness.environment import Environment
from harness.runtimes.base import Capabilities, Compacted, Ending, Sink, Tools, TurnOutcome, TurnRequest
from meta.agent_toml.script import (
    Action,
    Answer,
    Ask,
    Commit,
    Crash,
    Remind,
    Reply,
    Request,
    ScriptRule,
    Send,
    Sleep,
    compile_pattern,
    fill,
)
from meta.agent_toml.settings import AgentSettings
from meta.errors import BadInput, HiveError, PermanentError
from meta.names import SYSTEM
from meta.wire.agent import MessageResponse
from meta.wire.live import Text

log = logging.getLogger(__name__)


CLIENT = "pod.sock"
"""The sender of a run that a client of the pod asked for (harness.pod.requests)."""


@dataclass(slots=True)
class Place:
    """Where a turn is: the next action of its rule. `rest`: seconds that are left of a sleep that was interrupted."""

    message: int
    rule: ScriptRule
    values: dict[str, str]
    next: int = 0
    rest: float | None = None


class ScriptRuntime:
    """The rules of agent.toml. A message that no rule matches is acknowledged without an action."""

    name = "script"
    capabilities = Capabilities(resume=False, inject=False, compact=False, login=False, cost=False, context=False)
    default_model = ""

    def __init__(self, settings: AgentSettings, environment: Environment, tools: Tools) -> None:
        self._environment = environment
        self._tools = tools
        self._place: Place | None = None
        """Where the last turn was interrupted."""
        self._turn: asyncio.Task[Any] | None = None
        self._rules = [(compile_pattern(rule.when), compile_pattern(rule.sender), rule) for rule in settings.script]

    async def turn(self, request: TurnRequest, sink: Sink) -> TurnOutcome:
        """Do the actions of the first matching rule. A permanent error ends the rule; the sender gets a message.

        A turn that goes on begins where it was interrupted: no action is done twice, and a sleep has its rest.
        """
        message, place = request.message, self._place
        self._place, self._turn = None, asyncio.current_task()
        if request.goes_on and place is not None and place.message == message.id:
            await self._do(place, message, sink)
            return TurnOutcome(Ending.OK)
        for when, sender, rule in self._rules:
            match = when.fullmatch(message.body)
            if match is not None and sender.fullmatch(message.sender):
                groups = {name: text or "" for name, text in match.groupdict().items()}
                values = {"sender": message.sender, "body": message.body, "self": self._environment.agent, **groups}
                await self._do(Place(message.id, rule, values), message, sink)
                return TurnOutcome(Ending.OK)
        log.info("no rule for message %d from %r", message.id, message.sender)
        return TurnOutcome(Ending.OK)

    async def inject(self, text: str) -> bool:
        """Return False: rules look at one message."""
        return False

    async def interrupt(self) -> None:
        """Cancel the turn, which ends at its next await. An action that has begun is done first."""
        if self._turn is not None:
            self._turn.cancel()

    async def compact(self, session: str | None, sink: Sink) -> Compacted | None:
        """Return None: there is no conversation."""
        return None

    async def version(self) -> str:
        """Return "": the rules need no program."""
        return ""

    async def close(self) -> None:
        """Do nothing: there is no process."""

    async def _do(self, place: Place, message: MessageResponse, sink: Sink) -> None:
        try:
            while place.next < len(place.rule.actions):
                await self._step(place, message, sink)
        except PermanentError as error:
            log.warning("a rule failed: %s", error.summary)
            try:
                await self._say(message.sender, f"failed: {error.summary}", sink)
            except HiveError as again:
                log.warning("cannot send the failure to %r: %s", message.sender, again.summary)

    async def _step(self, place: Place, message: MessageResponse, sink: Sink) -> None:
        """Do the next action. If the turn is interrupted meanwhile, remember the place: a sleep ends, others are done.

        What was sent twice or not at all would not be the same turn.
        """
        action = place.rule.actions[place.next]
        if isinstance(action, Sleep):
            await self._sleep(place, action)
            return
        work = asyncio.ensure_future(self._act(action, message, place.values, sink))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            with suppress(HiveError):
                await work
            place.next += 1
            self._place = place
            raise
        place.next += 1

    async def _sleep(self, place: Place, action: Sleep) -> None:
        loop = asyncio.get_running_loop()
        begin, seconds = loop.time(), action.seconds if place.rest is None else place.rest
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            place.rest = max(0.0, seconds - (loop.time() - begin))
            self._place = place
            raise
        place.next, place.rest = place.next + 1, None

    async def _say(self, to: str, text: str, sink: Sink) -> None:
        """Send a text, or show it if it is for a client of the pod, which has no inbox."""
        if to == CLIENT:
            sink.line([Text(text=text)], None)
        else:
            await self._tools.send(to, text)

    async def _act(self, action: Action, message: MessageResponse, values: dict[str, str], sink: Sink) -> None:
        tools = self._tools
        match action:
            case Reply(text):
                await self._say(message.sender, fill(text, values), sink)
            case Send(to=to, body=body):
                await tools.send(fill(to, values), fill(body, values))
            case Ask(to=to, question=question, options=options, multi=multi):
                offered = [fill(option, values) for option in options]
                await tools.ask(fill(to, values), fill(question, values), offered, multi=multi)
            case Answer(text):
                await tools.answer(question_of(message), fill(text, values))
            case Remind(message=text, seconds=seconds):
                await tools.remind(fill(text, values), seconds)
            case Commit() | Request():
                values["commit"] = await self._in_work_tree(action, values, tools)
            case Crash(code):
                crash(code)

    async def _in_work_tree(self, action: Commit | Request, values: dict[str, str], tools: Tools) -> str:
        from harness.work_tree import WorkTree  # few agents ever commit: do not delay every start

        tree = WorkTree(self._environment.agents, fill(action.agent, values), self._environment.agent)
        if isinstance(action, Commit):
            return await tree.commit(
                fill(action.file, values), fill(action.content, values), fill(action.message, values)
            )
        head = await tree.head()
        await tools.request_apply_commit(tree.agent, head, fill(action.description, values))
        return head


def question_of(message: MessageResponse) -> int:
    """Return the id of the question in a message. Raise BadInput if it is not a question."""
    from meta.wire.codec import decode
    from meta.wire.events import HELPER_EVENT, QuestionAsked  # only rules that answer need them

    event = decode(HELPER_EVENT, message.body) if message.sender == SYSTEM else None
    if not isinstance(event, QuestionAsked):
        raise BadInput(
            f"the message from {message.sender} is not a question", "use `answer` only in rules that match questions"
        )
    return event.id


def crash(code: int | None) -> None:
    """End at once, as a real crash would: flush, acknowledge and send nothing. Without a `code` end by SIGKILL."""
    log.info("crashing on purpose")
    if code is None:
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(137 if code is None else code)

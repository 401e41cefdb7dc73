"""The deterministic runtime: rules from agent.toml, first match wins. For tests and demonstrations, without a model."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

from harness.environment import Place
from harness.runtimes.base import Tools, TurnOutcome
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

log = logging.getLogger(__name__)


class ScriptRuntime:
    """Does what the first matching rule says; a message that none matches is read and forgotten."""

    def __init__(self, settings: AgentSettings, place: Place) -> None:
        self._place = place
        self._rules = [(compile_pattern(rule.when), compile_pattern(rule.sender), rule) for rule in settings.script]

    async def turn(self, message: MessageResponse, tools: Tools) -> TurnOutcome:
        """Do the rule's actions in order. A permanent error is told to the sender and ends the rule, not the agent."""
        for when, sender, rule in self._rules:
            match = when.fullmatch(message.body)
            if match is not None and sender.fullmatch(message.sender):
                groups = {name: text or "" for name, text in match.groupdict().items()}
                values = {"sender": message.sender, "body": message.body, "self": self._place.agent, **groups}
                await self._do(rule, message, values, tools)
                return TurnOutcome(ok=True)
        log.info("no rule for message %d from %r", message.id, message.sender)
        return TurnOutcome(ok=True)

    async def _do(self, rule: ScriptRule, message: MessageResponse, values: dict[str, str], tools: Tools) -> None:
        try:
            for action in rule.actions:
                await self._act(action, message, values, tools)
        except PermanentError as error:
            log.warning("a rule ended early: %s", error.summary)
            try:
                await tools.send(message.sender, f"failed: {error.summary}")
            except HiveError as again:
                log.warning("%r cannot be told: %s", message.sender, again.summary)

    async def _act(self, action: Action, message: MessageResponse, values: dict[str, str], tools: Tools) -> None:
        match action:
            case Reply(text):
                await tools.send(message.sender, fill(text, values))
            case Send(to=to, body=body):
                await tools.send(fill(to, values), fill(body, values))
            case Ask(to=to, question=question, options=options, multi=multi):
                offered = [fill(option, values) for option in options]
                await tools.ask(fill(to, values), fill(question, values), offered, multi=multi)
            case Answer(text):
                await tools.answer(question_of(message), fill(text, values))
            case Remind(message=text, seconds=seconds):
                await tools.remind(fill(text, values), seconds)
            case Sleep(seconds):
                await asyncio.sleep(seconds)
            case Commit() | Request():
                values["commit"] = await self._in_work_tree(action, values, tools)
            case Crash(code):
                crash(code)

    async def _in_work_tree(self, action: Commit | Request, values: dict[str, str], tools: Tools) -> str:
        from harness.work_tree import WorkTree  # few agents ever commit: no start waits for it

        tree = WorkTree(self._place.agents, fill(action.agent, values), self._place.agent)
        if isinstance(action, Commit):
            return await tree.commit(
                fill(action.file, values), fill(action.content, values), fill(action.message, values)
            )
        head = await tree.head()
        await tools.request_apply_commit(tree.agent, head, fill(action.description, values))
        return head


def question_of(message: MessageResponse) -> int:
    """The id of the question that a message is; BadInput when it is none."""
    from meta.wire.codec import decode
    from meta.wire.events import HELPER_EVENT, QuestionAsked  # only who answers needs them

    event = decode(HELPER_EVENT, message.body) if message.sender == SYSTEM else None
    if not isinstance(event, QuestionAsked):
        raise BadInput(f"the message from {message.sender} is no question", "`answer` is for rules about questions")
    return event.id


def crash(code: int | None) -> None:
    """End at once, as a real crash would: nothing is flushed, acknowledged or said. None = by SIGKILL."""
    log.info("crashing on purpose")
    if code is None:
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(137 if code is None else code)

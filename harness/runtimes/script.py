"""The runtime without a model: rules from agent.toml, the first match wins. For tests and demonstrations."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

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

log = logging.getLogger(__name__)


class ScriptRuntime:
    """The rules of agent.toml. A message that no rule matches is acknowledged without an action."""

    name = "script"
    capabilities = Capabilities(resume=False, inject=False, compact=False, login=False, cost=False, context=False)
    default_model = ""

    def __init__(self, settings: AgentSettings, environment: Environment, tools: Tools) -> None:
        self._environment = environment
        self._tools = tools
        self._rules = [(compile_pattern(rule.when), compile_pattern(rule.sender), rule) for rule in settings.script]

    async def turn(self, request: TurnRequest, sink: Sink) -> TurnOutcome:
        """Do the actions of the first matching rule. A permanent error ends the rule; the sender gets a message."""
        message = request.message
        for when, sender, rule in self._rules:
            match = when.fullmatch(message.body)
            if match is not None and sender.fullmatch(message.sender):
                groups = {name: text or "" for name, text in match.groupdict().items()}
                values = {"sender": message.sender, "body": message.body, "self": self._environment.agent, **groups}
                await self._do(rule, message, values, self._tools)
                return TurnOutcome(Ending.OK)
        log.info("no rule for message %d from %r", message.id, message.sender)
        return TurnOutcome(Ending.OK)

    async def inject(self, text: str) -> bool:
        """Return False: rules look at one message."""
        return False

    async def interrupt(self) -> None:
        """Do nothing: the caller cancels the turn, which ends at its next await."""

    async def compact(self, session: str | None, sink: Sink) -> Compacted | None:
        """Return None: there is no conversation."""
        return None

    async def version(self) -> str:
        """Return "": the rules need no program."""
        return ""

    async def close(self) -> None:
        """Do nothing: there is no process."""

    async def _do(self, rule: ScriptRule, message: MessageResponse, values: dict[str, str], tools: Tools) -> None:
        try:
            for action in rule.actions:
                await self._act(action, message, values, tools)
        except PermanentError as error:
            log.warning("a rule failed: %s", error.summary)
            try:
                await tools.send(message.sender, f"failed: {error.summary}")
            except HiveError as again:
                log.warning("cannot send the failure to %r: %s", message.sender, again.summary)

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

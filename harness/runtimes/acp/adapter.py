"""The runtime of an agent of the Agent Client Protocol: one process, one conversation, one prompt at a time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from harness.runtimes.acp.launch import Launch, launch_of, write_files
from harness.runtimes.acp.outcome import failed, outcome_of
from harness.runtimes.acp.peer import AgentError, NoAnswer
from harness.runtimes.acp.process import Process, run_to_end, start_process
from harness.runtimes.acp.session import Wanted, check_version, converse, introduce
from harness.runtimes.acp.table import Preset
from harness.runtimes.acp.tools_wait import ToolsWait
from harness.runtimes.acp.updates import Reader
from harness.runtimes.base import Compacted, CompactionFailed, Ending, RuntimeSpec, Sink, TurnOutcome, TurnRequest
from meta.agent_toml.obeyed import obeyed
from meta.errors import BadInput, HiveError, PermanentError, TransientError
from meta.process.command_line import resolve
from meta.text import one_line

_VERSION_SECONDS = 20.0
_LOOK_SECONDS = 5.0
"""Seconds between two looks at a turn in which nothing comes."""

_QUIET_SHARE = 0.8
"""Of limits.silence_seconds: what is silent for longer is killed as dead, and that counts as a failed turn."""

_READY_SHARE = 0.8
"""The same for the time until the agent can take a prompt."""


class AcpRuntime:
    """An agent of `preset`. Its process stays between turns; another model needs another one."""

    default_model = ""

    def __init__(self, spec: RuntimeSpec, preset: Preset) -> None:
        self.name = preset.name
        self.capabilities = preset.capabilities
        self._spec = replace(spec, prompt="\n\n".join((spec.prompt, *_hints(spec, preset)))) if spec.prompt else spec
        self._preset = preset
        self._process: Process | None = None
        self._session: str | None = None
        self._model: str | None = None
        self._started: Launch | None = None
        self._stop = asyncio.Event()
        self._busy = False
        self._has_noted = False
        self._tools = ToolsWait(preset, spec.agent, spec.enclosure.mcp)

    async def turn(self, request: TurnRequest, sink: Sink) -> TurnOutcome:
        """Do one turn. What fails before the agent has the prompt is no failure of the message, so it is parked."""
        self._stop.clear()
        self._busy = True
        reader = Reader(self._preset)
        try:
            try:
                wanted = self._wanted(request.session, request.model)
                ready = await self._until_stopped(self._equipped(wanted, reader, sink))
            except AgentError as error:
                return self._unready(
                    failed(self._preset, error.failure, agent=self._spec.agent, session=request.session)
                )
            except HiveError as error:
                return await self._not_started(request, error)
            if ready is None:
                await self.close()
                return TurnOutcome(Ending.CANCELLED, "cancelled", session=request.session)
            process, new = ready
            prompt = [request.prompt]
            if new and self._preset.system_prompt == "prefix" and self._spec.prompt:
                prompt.insert(0, self._spec.prompt)
            return await self._prompt(process, prompt, reader)
        except asyncio.CancelledError:
            await self.close()
            raise
        finally:
            self._busy = False
            if self._process is not None:
                self._process.finish()

    async def inject(self, text: str) -> bool:
        """Return False: a second prompt means something else to each agent."""
        return False

    async def interrupt(self) -> None:
        """Cancel the prompt. An agent that does not end its turn in time is ended."""
        if self._busy:
            self._stop.set()

    async def compact(self, session: str | None, sink: Sink) -> Compacted | None:
        """Compact by the agent's own command, if it has one. Raise HiveError if it could not."""
        if self._preset.compact is None or session is None:
            return None
        self._stop.clear()
        reader = Reader(self._preset)
        try:
            process, new = await self._ready(self._wanted(session, self._model), reader, sink)
            if new:
                return None
            outcome = await self._prompt(process, [self._preset.compact], reader)
        except BaseException:
            await self.close()
            raise
        finally:
            if self._process is not None:
                self._process.finish()
        if not outcome.ok:
            raise CompactionFailed(f"{self.name} could not compact: {outcome.reason}", outcome)
        return Compacted(tokens_after=reader.context, session=outcome.session, tokens=outcome.tokens)

    async def version(self) -> str:
        """Return the agent's version, "" if it only says it later. Raise PermanentError if the program is missing."""
        preset = self._preset
        argv = launch_of(
            replace(preset, needs_model=False, words=preset.ask_version, policy=None), self._spec, None
        ).argv
        try:
            resolve(argv, self._spec.enclosure.env.get("PATH", os.defpath))
            line = await run_to_end(argv, self._spec, _VERSION_SECONDS) if preset.ask_version else ""
        except PermanentError as error:
            raise PermanentError(error.summary, preset.install) from error
        version = check_version(preset, line)
        if not version and preset.minimum:
            raise PermanentError(f"`{' '.join(argv)}` does not say a version: {line[:100]!r}", preset.install)
        return version

    async def close(self) -> None:
        """End the agent with every descendant."""
        process, self._process = self._process, None
        if process is not None:
            await process.end()

    def _wanted(self, session: str | None, model: str | None) -> Wanted:
        return Wanted(session, model or self._spec.settings.model)

    async def _ready(self, wanted: Wanted, reader: Reader, sink: Sink) -> tuple[Process, bool]:
        """Return the process with the conversation of the turn, and if that is new."""
        launch = launch_of(self._preset, self._spec, wanted.model)
        self._note_rules(sink)
        process = self._process
        if process is not None and not (process.running and self._is_as_started(launch, wanted, sink)):
            await self.close()
            process = None
        if process is None:
            process = await self._start(launch, wanted, reader, sink)
        else:
            process.begin(reader, sink)
            if process.session is not None and wanted.session == self._session:
                return process, False
        self._tools.begin(process.capabilities)
        self._session, new = await converse(process, self._preset, self._spec, launch.session, wanted, sink)
        return process, new

    async def _equipped(self, wanted: Wanted, reader: Reader, sink: Sink) -> tuple[Process, bool]:
        """Return what `_ready` does once the agent has hive's tools. Raise TransientError if it does not fetch them."""
        ready = await self._ready(wanted, reader, sink)
        await self._tools.wait(sink)
        return ready

    def _note_rules(self, sink: Sink) -> None:
        """Note once which rules of agent.toml the agent cannot be held to."""
        rules, row = self._spec.settings.permissions, obeyed(self.name)
        for key, words, obeys in (("deny", rules.deny, row.deny), ("allow", rules.allow, row.allow)):
            if words and not obeys and not self._has_noted:
                sink.note(f"permissions.{key}: {self.name} is not held to it, only refused what it asks about")
        self._has_noted = True

    def _is_as_started(self, launch: Launch, wanted: Wanted, sink: Sink) -> bool:
        """Return True if the agent that runs was started as this turn wants it."""
        started = self._started
        if started is None or wanted.model != self._model:
            return False
        if launch.env != started.env:
            sink.note(f"the way to the model's API changed: {self.name} is started again")
        elif launch.bounds != started.bounds:
            sink.note(f"the scope changed: {self.name} is started again")
        return (launch.env, launch.bounds) == (started.env, started.bounds)

    async def _start(self, launch: Launch, wanted: Wanted, reader: Reader, sink: Sink) -> Process:
        write_files(launch)
        self._process = process = await start_process(launch, self._preset, self._spec)
        self._model, self._session, self._started = wanted.model, None, launch
        process.begin(reader, sink)
        await introduce(process, self._preset)
        return process

    async def _until_stopped(self, ready: Coroutine[Any, Any, tuple[Process, bool]]) -> tuple[Process, bool] | None:
        """Return what `ready` does; None if the turn is to be stopped before. Raise TransientError if it takes long.

        Nothing comes from the agent meanwhile, and an agent that is silent for longer is ended as a failed turn.
        """
        seconds = self._spec.settings.limits.silence_seconds * _READY_SHARE
        task, stop = asyncio.create_task(ready), asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stop}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and not stop.done():
                raise TransientError(
                    f"{self.name} was not ready for the message within {seconds:g} s",
                    "set a greater limits.silence_seconds in agent.toml if it needs longer",
                )
            return await task if task.done() else None
        finally:
            task.cancel()
            stop.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)

    def _unready(self, outcome: TurnOutcome) -> TurnOutcome:
        """Return the outcome of a conversation that the agent refused: it is no failure of the message."""
        return replace(outcome, ending=Ending.PARKED) if outcome.ending is Ending.REFUSED else outcome

    async def _not_started(self, request: TurnRequest, error: HiveError) -> TurnOutcome:
        why = self._process.why if self._process is not None and isinstance(error, NoAnswer) else ""
        await self.close()
        hint = error.hint or ("" if isinstance(error, BadInput) else self._preset.install)
        text = error.summary + (f": {why}" if why and why not in error.summary else "")
        return TurnOutcome(Ending.PARKED, one_line(f"{text} ({hint})" if hint else text), session=request.session)

    async def _prompt(self, process: Process, prompt: list[str], reader: Reader) -> TurnOutcome:
        blocks = [{"type": "text", "text": text} for text in prompt]
        cost = process.cost
        process.progress_at = asyncio.get_running_loop().time()
        answer = process.peer.start("session/prompt", {"sessionId": process.session, "prompt": blocks})
        try:
            why = await self._follow(process, reader, answer)
        finally:
            answer.cancel()
        outcome = self._outcome(answer, reader, cost)
        if why is not None:
            ended = Ending.CANCELLED if self._stop.is_set() else Ending.PARKED
            outcome = replace(outcome, ending=ended, reason=why)
        elif self._process is not process and not outcome.ok:  # some answer the prompt when they are ended
            outcome = replace(outcome, ending=Ending.CRASHED, reason="the agent was ended")
        crashed = outcome.ending is Ending.CRASHED or not process.running or answer.cancelled()
        if crashed or (why is not None and self._preset.end_after_cancel):
            await self.close()
        return outcome

    async def _follow(self, process: Process, reader: Reader, answer: asyncio.Future[Any]) -> str | None:
        """Wait for the answer. Return why it was cancelled by hive, None if it was not.

        An answer after a cancel proves nothing: some agents call the end of a cancelled turn a good one.
        """
        stop = asyncio.create_task(self._stop.wait())
        silence = self._spec.settings.limits.silence_seconds
        quiet = min(self._preset.quiet_seconds, silence * _QUIET_SHARE)
        try:
            while not answer.done() and not self._stop.is_set():
                left = process.progress_at + quiet - asyncio.get_running_loop().time()
                if left <= 0 and not reader.running:
                    return await self._cancel(process, answer, f"nothing came from the model for {quiet:g} s")
                await asyncio.wait(
                    {answer, stop},
                    timeout=max(left, _LOOK_SECONDS) if reader.running else max(left, 0.01),
                    return_when=asyncio.FIRST_COMPLETED,
                )
            return None if answer.done() else await self._cancel(process, answer, "cancelled")
        finally:
            stop.cancel()

    async def _cancel(self, process: Process, answer: asyncio.Future[Any], why: str) -> str:
        process.cancel()
        await asyncio.wait({answer}, timeout=self._preset.cancel_seconds)
        return why

    def _outcome(self, answer: asyncio.Future[Any], reader: Reader, cost: float | None) -> TurnOutcome:
        session = self._session or ""
        if answer.cancelled():
            return TurnOutcome(Ending.CRASHED, "the agent did not end its turn", session=session)
        error = answer.exception()
        if isinstance(error, AgentError):
            return failed(self._preset, error.failure, agent=self._spec.agent, session=session)
        if error is not None:
            return TurnOutcome(Ending.CRASHED, one_line(str(error)), session=session)
        outcome = outcome_of(
            self._preset, answer.result(), reader, agent=self._spec.agent, session=session, cost_before=cost
        )
        return replace(outcome, model=outcome.model or self._model or "")  # some never say which they used


def _hints(spec: RuntimeSpec, preset: Preset) -> list[str]:
    """Return what the model of this agent must know of the tools that it has."""
    pods = preset.pods_hint if spec.enclosure.mcp is not None and spec.enclosure.mcp.pods else ""
    return [hint for hint in (preset.hint, pods) if hint]

"""The runtime of the `claude` CLI: one long-lived process, which does one turn after another."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from dataclasses import replace

from harness.runtimes.base import (
    Capabilities,
    Compacted,
    CompactionFailed,
    Ending,
    RuntimeSpec,
    Sink,
    TurnOutcome,
    TurnRequest,
)
from harness.runtimes.claude import arguments
from harness.runtimes.claude.exchange import Exchange, Meter
from harness.runtimes.claude.facts import Answer, Boundary, Context, Init, Question
from harness.runtimes.claude.lines import Parsed
from harness.runtimes.claude.outcome import judge_compaction
from harness.runtimes.claude.process import Cli, exit_code, read_version, start_cli
from harness.runtimes.claude.tools import judge_tools, lacks_tools
from harness.runtimes.servers import usable_servers
from meta.agent_toml.clis import CLIS, is_too_old
from meta.errors import HiveError, PermanentError

INTERRUPT_SECONDS = 4.0
"""Seconds that an interrupted turn has to end, before its process is ended."""

LATE_SECONDS = 10.0
"""Seconds without a line after a result, while the CLI still has a text that came too late for its turn."""

IDLE_LINES = 500
"""Lines that a process may write between two turns, before it is ended."""

MODEL_SECONDS = 20.0
VERSION_SECONDS = 10.0
MOST_UNKNOWN = 4
"""Options that the CLI may not know, before it counts as another program."""

_NOTHING = "messages to compact"
"""A compaction failed only because the conversation is too short."""

_SESSION = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UNKNOWN = re.compile(r"unknown option '(--[a-z-]+)'")
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")


class ClaudeRuntime:
    """The CLI (harness.runtimes.base.Runtime)."""

    name = "claude"
    capabilities = Capabilities(resume=True, inject=True, compact=True, login=True, cost=True, context=True)
    default_model = arguments.DEFAULT_MODEL

    def __init__(self, spec: RuntimeSpec) -> None:
        self._spec = spec
        self._cli: Cli | None = None
        self._exchange: Exchange | None = None
        self._deadline: asyncio.Timeout | None = None
        self._without: tuple[str, ...] = ()
        self._failed: dict[str, str] = {}
        self._checked = False
        self._idle: asyncio.Task[None] | None = None

    async def turn(self, request: TurnRequest, sink: Sink) -> TurnOutcome:
        """Do one turn. A CLI that cannot be started parks the agent: its messages wait for the remedy."""
        model = request.model or self._spec.settings.model or self.default_model
        try:
            outcome = await self._turn(request.prompt, request.session, model, sink)
            self._watch_idle(sink)
            return outcome
        except HiveError as error:
            return TurnOutcome(Ending.PARKED, error.describe(), session=request.session)
        except BaseException:
            await self.close()
            raise

    async def inject(self, text: str) -> bool:
        """Give the model a text with the next result of a tool, or in a turn that follows at once."""
        cli, exchange = self._cli, self._exchange
        if cli is None or exchange is None or exchange.answered or not cli.streaming:
            return False
        name = str(uuid.uuid4())
        if not cli.say(text, name):
            return False
        exchange.add(name, text)
        return True

    async def interrupt(self) -> None:
        """Ask the CLI to stop its turn. If it does not end soon, its process is ended."""
        if self._cli is not None and self._exchange is not None and self._deadline is not None:
            self._exchange.interrupt()
            self._cli.interrupt()
            self._deadline.reschedule(asyncio.get_running_loop().time() + INTERRUPT_SECONDS)

    async def compact(self, session: str | None, sink: Sink) -> Compacted | None:
        """Compact the conversation. Raise HiveError if the CLI could not; None: there is nothing to compact."""
        if session is None:
            return None
        model = self._cli.model if self._cli else self._spec.settings.model or self.default_model
        try:
            cli = await self._ready(session, model, sink)
            exchange = await self._converse(cli, "/compact", sink, verbatim=False)
            outcome = await self._finish(cli, exchange)
            self._watch_idle(sink)
        except BaseException:
            await self.close()
            raise
        if exchange.boundary is not None:
            before, after = exchange.boundary.before, exchange.boundary.after
            return Compacted(before, after, cli.session, tokens=outcome.tokens)
        if exchange.lost or (outcome.ok and _NOTHING in (exchange.not_compacted or _NOTHING)):
            return None
        if outcome.ok:
            outcome = replace(outcome, ending=judge_compaction(exchange.not_compacted), reason=exchange.not_compacted)
        raise CompactionFailed(f"claude could not compact: {outcome.reason}", outcome)

    async def version(self) -> str:
        """Return the CLI's version, such as 2.1.329."""
        command = self._spec.settings.command or [arguments.PROGRAM]
        env = arguments.environment(self._spec)
        enclosure = self._spec.enclosure
        how = arguments.Launch((*command, "--version"), env, enclosure.work, {}, enclosure.bounds())
        try:
            text = await read_version(how, VERSION_SECONDS)
        except PermanentError as error:
            raise PermanentError(error.summary, f"{error.hint}; {_INSTALL}" if error.hint else _INSTALL) from error
        found = _VERSION.search(text)
        if found is None:
            raise PermanentError(f"`{command[0]} --version` printed {text!r}", _INSTALL)
        if is_too_old(CLIS["claude"], found[0]):
            raise PermanentError(f"claude {found[0]} is too old", _INSTALL)
        return found[0]

    async def close(self) -> None:
        """End the process with every descendant."""
        await self._stop_idle()
        cli, self._cli = self._cli, None
        if cli is not None:
            await cli.child.end()

    async def _turn(self, prompt: str, session: str | None, model: str, sink: Sink) -> TurnOutcome:
        if not self._checked:
            await self.version()
            self._checked = True
        unseen: tuple[str, ...] = ()
        while True:
            cli = await self._ready(session, model, sink)
            exchange = await self._converse(cli, prompt, sink)
            outcome = await self._finish(cli, exchange)
            if exchange.lost and session is not None:
                sink.note("claude does not know the conversation any more: a new one begins")
                session = None
            elif not self._learn(cli, exchange, sink):
                outcome = judge_tools(outcome, exchange.own_servers, session, self._spec.agent)
                return replace(outcome, unseen=(*unseen, *outcome.unseen))
            unseen += exchange.added

    async def _ready(self, session: str | None, model: str, sink: Sink) -> Cli:
        """Return a process for the conversation and the model: the one that runs, or a new one."""
        await self._stop_idle()
        cli, env, bounds = self._cli, arguments.environment(self._spec), self._spec.enclosure.bounds()
        if cli is not None and cli.child.running and cli.env != env:
            sink.note("the way to the model's API changed: claude is started again")
        elif cli is not None and cli.child.running and cli.bounds != bounds:
            sink.note("the scope changed: claude is started again")
        elif cli is not None and cli.child.running and cli.session == session and await self._use(cli, model, sink):
            return cli
        elif cli is not None and not cli.child.running:
            sink.note(f"claude ended between two turns, exit code {await cli.child.wait()}: it is started again")
        await self.close()
        if session is not None and not _SESSION.fullmatch(session):
            sink.note("the name of the conversation is none of claude's: a new one begins")
            session = None
        name = session or str(uuid.uuid4())
        resume, servers = session is not None, usable_servers(self._spec.settings, self._spec.enclosure, sink)
        how = arguments.launch(self._spec, model, name, resume=resume, servers=servers, without=self._without)
        meter = Meter(None if resume else 0.0)
        self._cli = await start_cli(how, self._spec.enclosure.files, name, model, meter)
        self._cli.known = resume
        return self._cli

    def _watch_idle(self, sink: Sink) -> None:
        """Read what the process writes until the next turn. Nobody else does, and it would block."""
        if self._cli is not None and self._cli.streaming:
            self._idle = asyncio.create_task(self._read_idle(self._cli, sink))

    async def _stop_idle(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None:
            idle.cancel()
            await asyncio.gather(idle, return_exceptions=True)

    async def _read_idle(self, cli: Cli, sink: Sink) -> None:
        """Record what a process writes between two turns. What it costs counts for the next one. Bounded."""
        for _ in range(IDLE_LINES):
            parsed = await cli.read()
            if parsed is None:
                return
            sink.line(parsed.items, parsed.line, repeated=parsed.repeated)
            for fact in parsed.facts:
                if isinstance(fact, Question):
                    cli.refuse(fact)
                else:
                    cli.meter.take(fact)
                if isinstance(fact, Init):
                    sink.note("claude began a turn of its own, between two turns")
        sink.note(f"claude wrote {IDLE_LINES} lines between two turns: its process is ended")
        await cli.child.end()

    async def _use(self, cli: Cli, model: str, sink: Sink) -> bool:
        """Let a running process use another model. Return False if it did not accept it."""
        if cli.model == model:
            return True
        name = cli.request("set_model", model=model)
        try:
            async with asyncio.timeout(MODEL_SECONDS):
                while (parsed := await cli.read()) is not None:
                    sink.line(parsed.items, parsed.line, repeated=parsed.repeated)
                    for fact in parsed.facts:
                        if isinstance(fact, Answer) and fact.id == name:
                            cli.model = model
                            return not fact.error
                        cli.meter.take(fact)
        except TimeoutError:
            sink.note(
                f"claude did not answer within {MODEL_SECONDS:g} s that it uses the model {model}: it is restarted"
            )
        return False

    async def _converse(self, cli: Cli, text: str, sink: Sink, *, verbatim: bool = True) -> Exchange:
        """Give the CLI a text and read until its turn is over, or until it closes its output."""
        name = str(uuid.uuid4())
        exchange = self._exchange = Exchange(name, cli.meter, self._spec.agent)
        try:
            async with asyncio.timeout(None) as self._deadline:
                cli.say(text, name, verbatim=verbatim)
                while not exchange.finished and (parsed := await cli.read()) is not None:
                    self._take(cli, exchange, parsed, sink)
                    if verbatim:
                        _report_compaction(parsed, sink)
                    if verbatim and lacks_tools(exchange.servers):
                        break  # _finish ends the process: a new one asks for the tools again, a late text is unseen
        except TimeoutError:
            sink.note("claude did not end its turn in time: its process is ended")
        finally:
            self._exchange = self._deadline = None
        return exchange

    def _take(self, cli: Cli, exchange: Exchange, parsed: Parsed, sink: Sink) -> None:
        for aside in parsed.asides:
            sink.aside(aside)
        sink.line(parsed.items, parsed.line, repeated=parsed.repeated)
        for fact in parsed.facts:
            if isinstance(fact, Question):
                cli.refuse(fact)
            else:
                exchange.take(fact)
            if isinstance(fact, Context):
                sink.spent(cli.meter.unbilled())
        failed = {server: state for server, state in exchange.servers.items() if state not in ("connected", "pending")}
        if failed != self._failed and exchange.servers:
            self._failed = failed
            names = ", ".join(f"{server} ({state})" for server, state in failed.items())
            sink.note(f"MCP servers without tools: {names}" if failed else "all MCP servers have their tools again")
        if exchange.answered and not exchange.finished and self._deadline is not None:
            late = asyncio.get_running_loop().time() + LATE_SECONDS
            self._deadline.reschedule(late if exchange.idle else None)

    async def _finish(self, cli: Cli, exchange: Exchange) -> TurnOutcome:
        """Return the outcome of a turn that is over. A process that is of no more use is ended."""
        code = None if exchange.finished else await exit_code(cli.child)
        outcome = exchange.outcome(time.time(), code, cli.child.stderr)
        cli.known = cli.known or exchange.answered or exchange.model != ""
        if not exchange.finished or exchange.pending or exchange.lost or not cli.streaming:
            await cli.child.end()
            self._cli = None if self._cli is cli else self._cli
        return replace(outcome, session=cli.session if cli.known else None, model=outcome.model or cli.model)

    def _learn(self, cli: Cli, exchange: Exchange, sink: Sink) -> bool:
        """Return True if the CLI ended because it does not know an option: it is started without it."""
        found = None if exchange.answered else _UNKNOWN.search(cli.child.stderr)
        if found is None or found[1] in self._without or len(self._without) >= MOST_UNKNOWN:
            return False
        self._without = (*self._without, found[1])
        how = "one process for each turn" if found[1] == arguments.STREAM_INPUT else "it is started without it"
        sink.note(f"this claude has no option {found[1]}: {how}")
        return True


_INSTALL = f"{CLIS['claude'].remedy}; or name another program with `command` in agent.toml"


def _report_compaction(parsed: Parsed, sink: Sink) -> None:
    """Report a compaction that nobody asked the CLI for."""
    for fact in parsed.facts:
        if isinstance(fact, Boundary):
            sink.compacted(fact.before, fact.after)

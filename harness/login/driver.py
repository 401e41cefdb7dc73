"""The login of a CLI, driven over pipes: the address out, the code in. One at a time, bounded, and with an end.

What the CLI prints is shown to the operator, cleaned and on few lines. The code is written to its stdin and nowhere
else: neither it nor what the CLI prints is logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.login.presence import Standing
from harness.login.table import Dialogue, LoginRow
from harness.login.watch import Credentials
from meta.errors import BadInput, Conflict, PermanentError, Refused, TransientError
from meta.text import one_line, scrub
from meta.wire.link import Verb
from meta.wire.login import AGAIN, LOGGED_IN, PENDING

log = logging.getLogger(__name__)

ADDRESS_SECONDS = 25.0
"""Seconds until the CLI has printed its address. The operator's request waits for that."""
CODE_SECONDS = 25.0
"""Seconds until a request for the result of a code is answered. The login itself goes on."""
STDERR_SECONDS = 0.1
"""Seconds between two looks at stderr, while a code is judged."""
LOGOUT_SECONDS = 25.0
LOGIN_SECONDS = 600.0
"""Seconds of a whole login. Then it is ended, since a CLI does not end by itself."""
LINES_MOST = 200
"""Lines of the CLI's output that are kept."""
LINE_MOST = 4096
"""Characters of one line that are kept. An address has a few hundred."""
CODE_MOST = 4096
_ANSWER_MOST = 3500
_CODE = re.compile(r"[!-~]+")
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")


class Output(Protocol):
    """One line of a child's stdout."""

    @property
    def data(self) -> bytes:
        """The line without its end."""


class LoginChild(Protocol):
    """A running CLI (harness.child.Child)."""

    @property
    def running(self) -> bool:
        """True until it ends."""

    @property
    def stderr(self) -> str:
        """The end of what it wrote to stderr, scrubbed."""

    def write(self, data: bytes) -> bool:
        """Queue bytes for its stdin. Return False if it reads no more."""

    async def line(self) -> Output | None:
        """Return its next line; None once it closed stdout. A cancelled call loses nothing."""

    async def wait(self) -> int:
        """Wait until it ends, and return its exit code."""

    async def end(self) -> int:
        """End it with every descendant."""


Start = Callable[[Sequence[str | Path], Mapping[str, str], Path], Awaitable[LoginChild]]
"""Starts a CLI (harness.child.start_child). Raises HiveError if it is missing."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where and with what the CLI runs, as in its turns. `home` is also its working directory.

    `command` is the CLI in place of the row's program.
    """

    home: Path
    env: Mapping[str, str]
    command: tuple[str, ...] = ()


class LoginDriver:
    """Drives the logins of one runtime's CLI. Use `control` for the verbs of the link, and `close` at the end."""

    def __init__(self, row: LoginRow, place: Place, credentials: Credentials, start: Start) -> None:
        self._row = row
        self._place = place
        self._credentials = credentials
        self._start = start
        self._login: _Login | None = None
        self._last = ""
        self._busy = asyncio.Lock()

    async def control(self, verb: Verb, text: str) -> str:
        """Do one of the verbs of a login. Return the text for the operator, or raise HiveError if it fails."""
        if verb is Verb.LOGIN_CANCEL:  # not behind a request that waits
            return await self.cancel()
        async with self._busy:
            match verb:
                case Verb.LOGIN:
                    return await self.start()
                case Verb.LOGIN_CODE:
                    return await self.code(text)
                case Verb.LOGOUT:
                    return await self.logout()
                case _:
                    raise BadInput(f"{verb} is no verb of a login")

    async def start(self) -> str:
        """Begin a login, in place of one that is under way. Return the address, then what else the CLI says."""
        dialogue = self._row.dialogue
        if dialogue is None:
            raise Refused("hive cannot drive this login", self._row.instead)
        await self.cancel()
        child = await self._run(dialogue.arguments)
        login = self._login = _Login(child, dialogue, self._ended)
        try:
            async with asyncio.timeout(ADDRESS_SECONDS):
                text = await login.address()
        except TimeoutError as error:
            await self.cancel()
            raise TransientError("the CLI printed no address", "try again, or `hive shell AGENT`") from error
        except BaseException:
            await self.cancel()
            raise
        if text is None:
            self._login, said = None, await login.result()
            raise PermanentError(f"the login ended at once: {said}", self._row.instead)
        return text

    async def code(self, text: str) -> str:
        """Pass the code to the CLI, and return what came of it (meta.wire.login). Without a code only wait for that.

        Raise Conflict if no login is under way, PermanentError if it failed.
        """
        login = self._login
        if login is None:
            raise Conflict(self._last or "no login is under way", "`hive login AGENT` begins one")
        if text:
            if not _CODE.fullmatch(text) or len(text) > CODE_MOST:
                return f"{AGAIN}that is no code: it has spaces, odd characters or too many"
            login.enter(text)
        try:
            async with asyncio.timeout(CODE_SECONDS):
                again = await login.answer()
        except TimeoutError:
            return PENDING
        if again is not None:
            return f"{AGAIN}{again}"
        if self._login is not login:  # cancelled, or it took too long
            raise Conflict(self._last, "`hive login AGENT` begins again")
        return await self._conclude(login)

    async def _conclude(self, login: _Login) -> str:
        code, said = await login.exit_code(), await login.result()
        self._login = None
        if code != 0:
            raise PermanentError(f"the login failed: {said}", "`hive login AGENT` begins again")
        presence = await self._credentials.fresh()
        if presence.standing is Standing.MISSING:
            raise PermanentError(f"the CLI reports a login, but {presence.reason}", "see the agent's log")
        return LOGGED_IN

    async def cancel(self) -> str:
        """End a login that is under way."""
        login, self._login = self._login, None
        if login is None:
            return "no login is under way"
        self._last = "the login was cancelled"
        await login.end()
        return self._last

    async def logout(self) -> str:
        """Remove the login, as the CLI does it."""
        if self._row.logout is None:
            raise Refused("hive cannot end this login", self._row.instead)
        await self.cancel()
        child = await self._run(self._row.logout)
        try:
            async with asyncio.timeout(LOGOUT_SECONDS):
                said = await _drain(child)
                code = await child.wait()
        except TimeoutError as error:
            raise TransientError("the CLI did not end its logout", "try again") from error
        finally:
            await child.end()
        if code != 0:
            raise PermanentError(f"the logout failed: {said or one_line(child.stderr)}", self._row.instead)
        presence = await self._credentials.fresh()
        if self._credentials.mark() is not None and presence.standing is Standing.PRESENT:
            raise PermanentError("the login is still there", self._row.instead)
        return "logged out"

    async def close(self) -> None:
        """End what is under way."""
        await self.cancel()

    async def _run(self, arguments: Sequence[str]) -> LoginChild:
        command = self._place.command or (self._row.program,)
        return await self._start((*command, *arguments), self._place.env, self._place.home)

    def _ended(self, login: _Login, why: str) -> None:
        """Note that a login ended without a request that waited for it."""
        self._last = why
        if self._login is login and why:
            self._login = None


class _Login:
    """One login: its child, the task that reads what it prints, and its end after LOGIN_SECONDS."""

    def __init__(self, child: LoginChild, dialogue: Dialogue, ended: Callable[[_Login, str], None]) -> None:
        self._child = child
        self._dialogue = dialogue
        self._ended = ended
        self._lines: list[str] = []
        self._news = asyncio.Event()
        self._closed = False
        self._code = ""
        self._asked_at, self._complaints = 0, ""
        self._reading = asyncio.create_task(self._read())
        self._limit = asyncio.create_task(self._end_late())

    async def address(self) -> str | None:
        """Wait for the address, and return what is for the operator; None if the CLI ends without one."""
        while True:
            text = "\n".join(self._lines)
            match = self._dialogue.address.search(text)
            if match and (self._dialogue.printed is None or self._dialogue.printed.search(text)):
                rest = [] if self._dialogue.code else [line for line in self._lines if match[0] not in line]
                return "\n".join([match[0], *rest])[:_ANSWER_MOST]
            if self._closed:
                return None
            await self._next()

    def enter(self, code: str) -> None:
        """Write the code to the CLI."""
        self._asked_at, self._complaints, self._code = len(self._lines), self._child.stderr, code
        if not self._child.write(code.encode() + b"\n"):
            raise Conflict("the CLI reads no code any more", "`hive login AGENT` begins again")

    async def answer(self) -> str | None:
        """Wait until the CLI ends (None), or asks for the code again: then return what it says."""
        while not self._closed:
            if self._code and (line := self._asks_again()) is not None:
                shown, self._code = self._shown([line]), ""
                return shown
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STDERR_SECONDS):
                    await self._next()
        return None

    def _asks_again(self) -> str | None:
        """Return the line in which the CLI asks for the code again. Claude writes it to stderr."""
        for line in (*self._lines[self._asked_at :], *map(scrub_line, self._new_errors())):
            if self._dialogue.again is not None and self._dialogue.again.search(line):
                return line
        return None

    def _new_errors(self) -> list[str]:
        """Return the lines on stderr since the last code was entered."""
        errors = self._child.stderr
        return errors.removeprefix(self._complaints).splitlines() if errors != self._complaints else []

    async def exit_code(self) -> int:
        """Wait for the end of the CLI, which has closed its output, and return its exit code."""
        try:
            async with asyncio.timeout(5):
                code = await self._child.wait()
        except TimeoutError:
            code = -1
        await self.end()
        return code

    async def result(self) -> str:
        """Return the last that the CLI said, in one line."""
        await self.end()
        own = [line for line in self._lines if not self._dialogue.address.search(line)]
        errors = [scrub_line(line) for line in self._new_errors() if line.strip()]
        return self._shown(errors[-2:] or own[-2:]) or "it printed nothing"

    async def end(self) -> None:
        """End the CLI and the tasks."""
        for task in (self._reading, self._limit):
            if task is not asyncio.current_task():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        await self._child.end()
        self._closed = True
        self._news.set()

    def _shown(self, lines: Sequence[str]) -> str:
        """Return lines of the CLI as one, without the code if the CLI echoes it."""
        text = " ".join(line.partition("prompted >")[2] or line for line in lines)
        return one_line(text.replace(self._code, "[code]") if self._code else text)

    async def _next(self) -> None:
        self._news.clear()
        if not self._closed:
            await self._news.wait()

    async def _read(self) -> None:
        try:
            while (line := await self._child.line()) is not None:
                text = _ESCAPES.sub("", line.data[: 4 * LINE_MOST].decode("utf-8", "replace"))[:LINE_MOST]
                if text.strip() and len(self._lines) < LINES_MOST:
                    self._lines.append(scrub_line(text))
                self._news.set()
        finally:
            self._closed = True
            self._news.set()

    async def _end_late(self) -> None:
        await asyncio.sleep(LOGIN_SECONDS)
        log.info("a login was not finished within %g s and is ended", LOGIN_SECONDS)
        self._ended(self, f"the login was ended: it took more than {LOGIN_SECONDS / 60:g} minutes")
        await self.end()


def scrub_line(text: str) -> str:
    """Return one line of a CLI, cleaned. An address stays whole: its characters are plain."""
    return scrub(text.strip(), LINE_MOST).replace("\n", " ")


async def _drain(child: LoginChild) -> str:
    """Return the last line that the child prints until its end."""
    last = ""
    while (line := await child.line()) is not None:
        if line.data.strip():
            last = scrub_line(line.data[: 4 * LINE_MOST].decode("utf-8", "replace"))
    return one_line(last)

"""A login that runs: the CLI over pipes, what it prints on few lines, and its end after LOGIN_SECONDS.

What the CLI prints is shown to the operator, cleaned. The code is written to its stdin and nowhere else: neither it nor
what the CLI prints is logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from harness.login.table import Dialogue
from meta.errors import Conflict
from meta.text import one_line, scrub

log = logging.getLogger(__name__)

STDERR_SECONDS = 0.1
"""Seconds between two looks at stderr, while a code is judged."""
LOGIN_SECONDS = 600.0
"""Seconds of a whole login. Then it is ended, since a CLI does not end by itself."""
LINES_MOST = 200
"""The newest lines of the CLI's output, which are kept. What it prints for the operator is kept beside them."""
LINE_MOST = 4096
"""Characters of one line that are kept. An address has a few hundred."""
SHOWN_LINES = 10
SHOWN_LENGTH = 200
"""Lines that are shown beside an address, and characters of each."""
_ANSWER_MOST = 3500
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


class LoginProcess:
    """One login: its child, the task that reads what it prints, and its end after LOGIN_SECONDS.

    `ended` is called with this and the reason if it takes longer.
    """

    def __init__(self, child: LoginChild, dialogue: Dialogue, ended: Callable[[LoginProcess, str], None]) -> None:
        self._child = child
        self._dialogue = dialogue
        self._ended = ended
        self._lines: deque[str] = deque(maxlen=LINES_MOST)
        self._address, self._printed = "", ""
        self._shown_with: list[str] = []
        self._asks = ""
        self._news = asyncio.Event()
        self._closed = False
        self._code = ""
        self._complaints = ""
        self._reading = asyncio.create_task(self._read())
        self._limit = asyncio.create_task(self._end_late())

    async def address(self) -> str | None:
        """Wait for the address, and return what is for the operator; None if the CLI ends without one."""
        while not self._complete:
            if self._closed:
                return None
            await self._next()
        return "\n".join([self._address, *self._shown_with])[:_ANSWER_MOST]

    def enter(self, code: str) -> None:
        """Write the code to the CLI."""
        self._asks, self._complaints, self._code = "", self._child.stderr, code
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
        if self._asks:
            return self._asks
        for line in map(clean, self._new_errors()):
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
        errors = [clean(line) for line in self._new_errors() if line.strip()]
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
                text = clean(_ESCAPES.sub("", line.data[: 4 * LINE_MOST].decode("utf-8", "replace"))[:LINE_MOST])
                if text:
                    self._take(text)
                self._news.set()
        finally:
            self._closed = True
            self._news.set()

    def _take(self, line: str) -> None:
        """Keep a line. What the operator needs is found now, since a CLI may print much before it and after it."""
        self._lines.append(line)
        if not self._address and (match := self._dialogue.address.search(line)):
            self._address = match[0]
        if not self._printed and self._dialogue.printed is not None and self._dialogue.printed.search(line):
            self._printed = line
        if self._dialogue.again is not None and self._dialogue.again.search(line):
            self._asks = line
        if self._complete and not self._dialogue.code and not self._shown_with:
            near = [line for line in list(self._lines)[-SHOWN_LINES:] if self._address not in line]
            far = [self._printed] if self._printed and self._printed not in near else []
            self._shown_with = [line[:SHOWN_LENGTH] for line in (*far, *near)]

    @property
    def _complete(self) -> bool:
        """True once the CLI has printed all that the operator needs."""
        return bool(self._address and (self._printed or self._dialogue.printed is None))

    async def _end_late(self) -> None:
        await asyncio.sleep(LOGIN_SECONDS)
        log.info("a login was not finished within %g s and is ended", LOGIN_SECONDS)
        self._ended(self, f"the login was ended: it took more than {LOGIN_SECONDS / 60:g} minutes")
        await self.end()


def clean(text: str) -> str:
    """Return one line of a CLI, cleaned. An address stays whole: its characters are plain."""
    return scrub(text.strip(), LINE_MOST).replace("\n", " ")

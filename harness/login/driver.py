"""The verbs of a login, which hive asks for over the link. One login at a time, bounded, and with an end."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.login.aside import login_aside, with_folder
from harness.login.presence import Standing
from harness.login.process import LINE_MOST, LoginChild, LoginProcess, Start, clean
from harness.login.table import Dialogue, LoginRow
from harness.login.watch import Credentials
from meta.errors import BadInput, Conflict, PermanentError, Refused, TransientError
from meta.text import one_line
from meta.wire.link import Verb
from meta.wire.login import AGAIN, LOGGED_IN, PENDING

ADDRESS_SECONDS = 25.0
"""Seconds until the CLI has printed its address. The operator's request waits for that."""
CODE_SECONDS = 25.0
"""Seconds until a request for the result of a code is answered. The login itself goes on."""
LOGOUT_SECONDS = 25.0
CODE_MOST = 4096
_CODE = re.compile(r"[!-~]+")


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
        self._login: LoginProcess | None = None
        self._began: float | None = None
        """When the login that is under way began, in monotonic seconds."""
        self._last = ""
        self._busy = asyncio.Lock()

    async def control(self, verb: Verb, text: str) -> str:
        """Do one of the verbs of a login. Return the text for the operator, or raise HiveError if it fails.

        No verb waits behind one that can take longer than its own answer may: a cancel and a logout end what is under
        way, and a second login is refused at once.
        """
        match verb:
            case Verb.LOGIN_CANCEL:
                return await self.cancel()
            case Verb.LOGIN:
                self._refuse_second()
                async with self._busy:
                    return await self.start()
            case Verb.LOGIN_CODE:
                async with self._busy:
                    return await self.code(text)
            case Verb.LOGOUT:
                await self.cancel()
                async with self._busy:
                    return await self.logout()
            case _:
                raise BadInput(f"{verb} is no verb of a login")

    def _refuse_second(self) -> None:
        """Raise Conflict if a login is under way: its code would be typed into the CLI of another."""
        if self._began is not None:
            minutes = int((time.monotonic() - self._began) / 60)
            since = f"{minutes} min" if minutes else "less than a minute"
            raise Conflict(f"a login is under way for {since}", "`hive login AGENT --again` takes its place")
        if self._busy.locked():
            raise Conflict("another request about its login is under way", "try again")

    async def start(self) -> str:
        """Begin a login. Return the address, then what else the CLI says."""
        dialogue = self._row.dialogue
        if dialogue is None:
            raise Refused("hive cannot drive this login", self._row.instead)
        self._began = began = time.monotonic()
        try:
            login = await self._begin(dialogue, began)
            async with asyncio.timeout(ADDRESS_SECONDS):
                text = await login.address()
        except TimeoutError as error:
            await self.cancel()
            raise TransientError("the CLI printed no address", "try again, or `hive shell AGENT`") from error
        except BaseException:
            await self.cancel()
            raise
        if self._login is not login:
            raise Conflict(self._last, "`hive login AGENT` begins again")
        if text is None:
            self._forget(login)
            raise PermanentError(f"the login ended at once: {await login.result()}", self._row.instead)
        return text

    async def _begin(self, dialogue: Dialogue, began: float) -> LoginProcess:
        """Start the CLI. Raise Conflict if the login was cancelled meanwhile."""
        command = self._command(dialogue.arguments)
        child = await self._run(login_aside(self._row, command) if self._row.aside else command)
        if self._began != began:
            await child.end()
            raise Conflict(self._last, "`hive login AGENT` begins again")
        self._login = LoginProcess(child, dialogue, self._ended)
        return self._login

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

    async def _conclude(self, login: LoginProcess) -> str:
        code, said = await login.exit_code(), await login.result()
        self._forget(login)
        if code != 0:
            raise PermanentError(f"the login failed: {said}", "`hive login AGENT` begins again")
        presence = await self._credentials.fresh()
        if presence.standing is Standing.MISSING:
            raise PermanentError(f"the CLI reports a login, but {presence.reason}", "see the agent's log")
        return LOGGED_IN

    async def cancel(self) -> str:
        """End a login that is under way."""
        if self._began is None:
            return "no login is under way"
        login, self._login, self._began = self._login, None, None
        self._last = "the login was cancelled"
        if login is not None:
            await login.end()
        return self._last

    async def logout(self) -> str:
        """Remove the login, as the CLI does it."""
        if self._row.logout is None:
            raise Refused("hive cannot end this login", self._row.instead)
        command = self._command(self._row.logout)
        child = await self._run(with_folder(self._row, command) if self._row.aside else command)
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

    def _command(self, arguments: Sequence[str]) -> tuple[str, ...]:
        return (*(self._place.command or (self._row.program,)), *arguments)

    async def _run(self, command: Sequence[str]) -> LoginChild:
        return await self._start(command, self._place.env, self._place.home)

    def _ended(self, login: LoginProcess, why: str) -> None:
        """Note that a login ended without a request that waited for it."""
        self._last = why
        self._forget(login)

    def _forget(self, login: LoginProcess) -> None:
        if self._login is login:
            self._login = self._began = None


async def _drain(child: LoginChild) -> str:
    """Return the last line that the child prints until its end."""
    last = ""
    while (line := await child.line()) is not None:
        if line.data.strip():
            last = clean(line.data[: 4 * LINE_MOST].decode("utf-8", "replace"))
    return one_line(last)

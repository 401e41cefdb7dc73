"""Commands about the login of an agent's coding agent. The harness drives its CLI; hive only passes text on.

The code is a secret: it is in no event, no error and no log. What comes back is the agent's: it is cleaned, and an
address that is no known login is marked, because an agent that lies could send its operator anywhere.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections import defaultdict
from typing import Protocol

from meta.errors import Conflict, DiskFull
from meta.names import AgentName
from meta.text import one_line, scrub
from meta.wire.link import Done, Verb
from meta.wire.login import AGAIN, LOGGED_IN, PENDING
from reconciler.proposals.deploys import Deploys
from reconciler.views import LoginResult
from reconciler.world import World

log = logging.getLogger(__name__)

SECONDS = 35.0
"""Seconds within which a harness has to answer. It answers itself after 25."""
TEXT_MOST = 2000
PAGES = frozenset(
    {
        "claude.ai/oauth/authorize",
        "claude.com/cai/oauth/authorize",
        "platform.claude.com/oauth/authorize",
        "console.anthropic.com/oauth/authorize",
        "auth.openai.com/codex/device",
    }
)
"""Host and path of the pages to which the CLIs send people. Other pages of these hosts may be anybody's."""
_ADDRESS = re.compile(r"https://[!-~]{1,3000}")
_PLAIN = re.compile(r"https://([a-z0-9.-]+/[a-z0-9/_-]+)(?:\?[\w.~!$&'()*+,;=:@/?%-]*)?", re.ASCII)
"""An address that browsers read as it stands: no user, port, escape, dot or backslash moves its host or path."""


class Control(Protocol):
    """Asks a harness for something (reconciler.observe.links.Links)."""

    async def control(self, agent: AgentName, verb: Verb, text: str = "", seconds: float = 30.0) -> Done:
        """Return the harness's answer. Raise Conflict without a harness, TransientError without an answer."""


class Logins:
    """The commands. One login of an agent is under way at a time.

    Each has a name, which its code and its cancel carry: the code of a login must not reach the CLI of another one.
    """

    def __init__(self, world: World, deploys: Deploys, control: Control) -> None:
        self._world = world
        self._deploys = deploys
        self._control = control
        self._current: dict[AgentName, str] = {}
        """The login that began last. A login that began before a start of the daemon is not known."""
        self._asking: defaultdict[AgentName, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Held while a harness is asked: what waits behind another request would not be answered in time."""

    async def start(self, agent: AgentName, by: str, again: bool = False, login: str = "") -> LoginResult:
        """Begin a login, and return the address at which the operator logs in.

        Raise Conflict if the agent needs none, or if one is under way; `again` ends that one. `login` is the name of
        the new one, by which its caller can cancel it before the answer comes; empty: hive makes one up.
        """
        await self._deploys.entry(agent)
        self._require_need(agent)
        if again:
            await self._ask(agent, Verb.LOGIN_CANCEL)
        elif self._asking[agent].locked():
            raise Conflict(f"a login of {agent} is under way", f"`hive login {agent} --again` takes its place")
        async with self._asking[agent]:
            login = login or secrets.token_hex(8)
            done = await self._begin(agent, login, again)
        await self._record(agent, "login", by)
        lines = [line.strip() for line in scrub(done.text, 4000).splitlines() if line.strip()]
        address = lines[0] if lines else ""
        if not _ADDRESS.fullmatch(address):
            raise Conflict(f"the CLI of {agent} printed no address", f"`hive shell {agent}`, and log in there")
        return LoginResult(agent, "address", "\n".join(lines[1:])[:TEXT_MOST], address, is_known(address), login)

    def _require_need(self, agent: AgentName) -> None:
        """Refuse a login that the CLI would not use, and whose hosts the agent may not reach."""
        about = self._world.links.view(agent).about
        if about is not None and about.key:
            raise Conflict(
                f"{agent} reaches its model with a key outside, of kind {one_line(about.key, 32)}: it needs no login",
                f"to use a login, take that key from {agent} in network.toml first: docs/howto/network.md",
            )

    async def _begin(self, agent: AgentName, login: str, again: bool) -> Done:
        """Ask for the login. It is current before the answer: perhaps the harness begins it and no answer comes."""
        before = self._current.get(agent, "")
        self._current[agent] = login
        try:
            return await self._ask(agent, Verb.LOGIN)
        except Conflict:  # none was begun: the one before may be under way
            if not again:
                self._current[agent] = before
            raise

    async def code(self, agent: AgentName, code: str, by: str, login: str = "") -> LoginResult:
        """Pass the code to the CLI, or wait for the end of a login that needs none. Return what came of it.

        Raise Conflict if another login took the place of the one that `login` names.
        """
        await self._deploys.entry(agent)
        async with self._asking[agent]:
            if self._is_replaced(agent, login):
                raise Conflict(f"another login of {agent} took the place of this one", "the code is not passed on")
            text = (await self._ask(agent, Verb.LOGIN_CODE, code)).text
        if text == PENDING:
            return LoginResult(agent, "pending", "the login is not done yet")
        if text.startswith(AGAIN):
            return LoginResult(agent, "again", one_line(text.removeprefix(AGAIN)))
        if text != LOGGED_IN:
            raise Conflict(f"{agent} answers as no login does: {one_line(text, 100)}", f"see `hive logs {agent}`")
        return LoginResult(agent, "done", f"{agent} is logged in, says its CLI")

    async def cancel(self, agent: AgentName, by: str, login: str = "") -> LoginResult:
        """Cancel a login that is under way. Do nothing if another one took the place of the one that `login` names."""
        if self._is_replaced(agent, login):
            return LoginResult(agent, "cancelled", "another login took the place of this one, and goes on")
        return LoginResult(agent, "cancelled", one_line((await self._ask(agent, Verb.LOGIN_CANCEL)).text))

    def _is_replaced(self, agent: AgentName, login: str) -> bool:
        current = self._current.get(agent, "")
        return bool(login and current and login != current)

    async def logout(self, agent: AgentName, by: str) -> LoginResult:
        """Remove the login of an agent's CLI."""
        done = await self._ask(agent, Verb.LOGOUT)
        await self._record(agent, "logout", by)
        return LoginResult(agent, "logged-out", one_line(done.text))

    async def _ask(self, agent: AgentName, verb: Verb, text: str = "") -> Done:
        await self._deploys.entry(agent)
        done = await self._control.control(agent, verb, text, SECONDS)
        if not done.ok:
            why = one_line((done.text.replace(text, "[code]") if text else done.text).replace("AGENT", agent))
            raise Conflict(f"{agent}: {why or f'its harness refuses `{verb}`'}", f"see `hive logs {agent}`")
        return done

    async def _record(self, agent: AgentName, what: str, by: str) -> None:
        try:
            await self._world.events.append("login_requested", agent, {"what": what, "by": by})
        except DiskFull as error:
            log.warning("%s: the %s by %s is not in the events: %s", agent, what, by, error.summary)


def is_known(address: str) -> bool:
    """Return True if the address is a login page of a provider: its host and path are known, all of it is plain."""
    plain = _PLAIN.fullmatch(address)
    return plain is not None and plain[1] in PAGES

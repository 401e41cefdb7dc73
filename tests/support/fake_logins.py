"""The logins of the fake service's agents: every code is right, unless a test gives other answers."""

from __future__ import annotations

from collections.abc import Callable

from meta.names import AgentName
from reconciler.views import LoginResult


class FakeLogins:
    """The methods. `record` takes each command; `known` raises NotFound. Tests replace `address` and `answers`."""

    def __init__(self, known: Callable[[AgentName], None], record: Callable[[tuple[object, ...]], None]) -> None:
        self._known = known
        self._record = record
        self.address = "https://claude.ai/oauth/authorize?z-1"
        self.answers: list[LoginResult] = []

    async def start(self, agent: AgentName, by: str, again: bool = False, login: str = "") -> LoginResult:
        self._known(agent)
        self._record(("login", agent, by, again, login))
        known = self.address.startswith("https://claude.ai/")
        return LoginResult(agent, "address", "", self.address, known, login or "l1")

    async def code(self, agent: AgentName, code: str, by: str, login: str = "") -> LoginResult:
        self._known(agent)
        self._record(("login_code", agent, code, login))
        return self.answers.pop(0) if self.answers else LoginResult(agent, "done", "logged in")

    async def cancel(self, agent: AgentName, by: str, login: str = "") -> LoginResult:
        self._record(("login_cancel", agent, login))
        return LoginResult(agent, "cancelled", "the login was cancelled")

    async def logout(self, agent: AgentName, by: str) -> LoginResult:
        self._known(agent)
        self._record(("logout", agent, by))
        return LoginResult(agent, "logged-out", "logged out")

"""The login of an agent's coding agent. Only the operator logs in, and hive keeps nothing of it."""

from __future__ import annotations

from pydantic import Field

from api.operations.base import CHANGES, OPERATORS, REMOVES, AgentField, Call, Input, Route, operation
from api.operations.lifecycle import Named
from reconciler.views import LoginResult

CODE_MOST = 4096


LOGIN_FIELD = Field(
    "", max_length=64, description="the `login` of the answer that has the address; empty: the one that is under way"
)


class LoginInput(Input):
    """One agent, and whether to replace a login that is under way."""

    agent: AgentField
    again: bool = Field(False, description="end a login that is under way; without this it is a conflict")
    login: str = Field(
        "",
        max_length=64,
        description="the name of the new login, to cancel it before the answer; empty: hive makes one",
    )


class LoginCancelInput(Input):
    """One agent, and which login of it."""

    agent: AgentField
    login: str = LOGIN_FIELD


class LoginCodeInput(Input):
    """One agent, which login of it, and the code that its provider gave."""

    agent: AgentField
    login: str = LOGIN_FIELD
    code: str = Field(
        "", max_length=CODE_MOST, repr=False, description="the code; empty: wait for the end of the login"
    )


@operation("login", OPERATORS, CHANGES, routes=(Route("POST", "/api/agents/{agent}/login"),), waits=True)
async def login(call: Call, asked: LoginInput) -> LoginResult:
    """Begin a login of an agent's coding agent, and return its address."""
    return await call.service.logins.start(asked.agent, call.who, again=asked.again, login=asked.login)


@operation("login_code", OPERATORS, CHANGES, routes=(Route("POST", "/api/agents/{agent}/login/code"),), waits=True)
async def login_code(call: Call, asked: LoginCodeInput) -> LoginResult:
    """Pass the code to the login that is under way, and return what came of it."""
    return await call.service.logins.code(asked.agent, asked.code, call.who, asked.login)


@operation("login_cancel", OPERATORS, CHANGES, routes=(Route("POST", "/api/agents/{agent}/login/cancel"),))
async def login_cancel(call: Call, asked: LoginCancelInput) -> LoginResult:
    """Cancel the login that is under way."""
    return await call.service.logins.cancel(asked.agent, call.who, asked.login)


@operation("logout", OPERATORS, REMOVES, routes=(Route("POST", "/api/agents/{agent}/logout"),), waits=True)
async def logout(call: Call, asked: Named) -> LoginResult:
    """Remove the login of an agent's coding agent. Its next turn waits for another one."""
    return await call.service.logins.logout(asked.agent, call.who)


LOGIN = (login, login_code, login_cancel, logout)

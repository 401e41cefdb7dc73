"""The login of an agent's coding agent, in place: each step answers with the part of the page for the next one."""

from __future__ import annotations

from api.operations.base import Call
from api.operations.login import (
    LoginCancelInput,
    LoginCodeInput,
    LoginInput,
    login,
    login_cancel,
    login_code,
)
from api.ui.acting import do
from api.ui.page import Action, Answered, AnyAction, Done
from reconciler.views import LoginResult


async def begin(call: Call, asked: LoginInput) -> Done:
    """Begin a login, and show its address. One that is under way ends: whoever asks has its code no more."""
    result = await do(call, login, asked.model_copy(update={"again": True}))
    return _done(f"The login of {asked.agent} has begun.", result, result.login or "")


async def code(call: Call, asked: LoginCodeInput) -> Done:
    """Pass the code on, and show what came of it."""
    result = await do(call, login_code, asked)
    words = {
        "done": f"{asked.agent} is logged in.",
        "again": "The code was not right: it is asked for again.",
        "pending": "The login is not done yet.",
    }
    return _done(words.get(result.state, result.text), result, asked.login)


async def cancel(call: Call, asked: LoginCancelInput) -> Done:
    """End a login that is under way."""
    return _done("The login is cancelled.", await do(call, login_cancel, asked), "")


def _done(text: str, result: LoginResult, name: str) -> Done:
    host = result.address.split("/")[2] if result.known and result.address else ""  # a known address is plain
    values = {"agent": result.agent, "result": result, "login": name, "host": host}
    return Done(text, part=Answered(f"login-{result.agent}", "needs_you/login_part.html", values))


LOGGING_IN: tuple[AnyAction, ...] = (
    Action("/needs-you/logins/{agent}", LoginInput, begin),
    Action("/needs-you/logins/{agent}/code", LoginCodeInput, code),
    Action("/needs-you/logins/{agent}/cancel", LoginCancelInput, cancel),
)
"""The forms of a login."""

"""Logins, passkeys, how an approval is made, and notifications."""

from __future__ import annotations

import asyncio

from api.operations.base import Call, Nothing
from api.operations.dashboard import (
    SessionInput,
    SessionsInput,
    dashboard_sessions,
    revoke_dashboard_session,
    revoke_dashboard_sessions,
)
from api.operations.passkeys import (
    AddPasskeyInput,
    RemovePasskeyInput,
    add_passkey,
    passkeys,
    remove_passkey,
)
from api.ui.acting import do
from api.ui.moment import Moment
from api.ui.page import Action, Done, Page, Region, Room, Shown
from api.ui.pages.settings.browsers import in_words
from api.words.users import with_names

LOOK = 60.0
"""Seconds after which the page is read again: the use of a session is no change that is reported."""


async def view(moment: Moment, _asked: Nothing) -> Shown:
    """Return what the page shows. It is the same for all who look."""
    keys = await moment.ask(passkeys, Nothing())
    sessions = await moment.ask(dashboard_sessions, Nothing())
    owners = {*(each.owner for each in keys.passkeys), *(each.by for each in sessions)}
    people = await asyncio.to_thread(lambda: {owner: _person(owner) for owner in owners})
    values = {"passkeys": keys.passkeys, "by_passkey": keys.approvals, "sessions": sessions, "people": people}
    return Shown({**values, "in_words": in_words}, again=LOOK)


def _person(owner: str) -> str:
    """Return an operator for people: "ada (uid 1000)". It asks the host's user database, which may block."""
    return with_names(owner).removeprefix("operator ")


async def end(call: Call, asked: SessionInput) -> Done:
    """Log a browser out. For this one the answer is the login page."""
    ended = await do(call, revoke_dashboard_session, asked)
    own = str(ended.id) == call.session
    return Done(f"The browser of {ended.by} is logged out.", "/login" if own else None)


async def end_others(call: Call, _asked: Nothing) -> Done:
    """Log all other browsers out."""
    keep = int(call.session) if call.session.isdecimal() else None
    ended = await do(call, revoke_dashboard_sessions, SessionsInput(keep=keep))
    words = {0: "No other browser was logged in.", 1: "One other browser is logged out."}
    return Done(words.get(len(ended), f"{len(ended)} other browsers are logged out."))


async def add(call: Call, asked: AddPasskeyInput) -> Done:
    """Keep a passkey that the browser made."""
    added = await do(call, add_passkey, asked)
    return Done(f"The passkey {added.name} is added: the login page takes it from now on.")


async def remove(call: Call, asked: RemovePasskeyInput) -> Done:
    """Remove a passkey."""
    removed = await do(call, remove_passkey, asked)
    return Done(f"The passkey {removed.name} is removed. What it approved stays valid.")


PAGE = Page(
    "settings",
    "/settings",
    "Settings",
    "settings",
    Nothing,
    view,
    "settings/page.html",
    (
        Region("nav", "parts/navigation.html"),
        Region("sessions", "settings/sessions.html"),
        Region("passkeys", "settings/passkeys.html"),
    ),
)
SETTINGS = Room(
    pages=(PAGE,),
    actions=(
        Action("/settings/sessions/{session}/end", SessionInput, end),
        Action("/settings/sessions/end", Nothing, end_others),
        Action("/settings/passkeys", AddPasskeyInput, add),
        Action("/settings/passkeys/{id}/remove", RemovePasskeyInput, remove),
    ),
)

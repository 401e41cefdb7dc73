"""Logins, passkeys, how an approval is made, and notifications."""

from __future__ import annotations

from api.operations.base import Call, Nothing
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


async def view(moment: Moment, _asked: Nothing) -> Shown:
    """Return what the page shows. It is the same for all who look."""
    keys = await moment.ask(passkeys, Nothing())
    return Shown({"passkeys": keys.passkeys, "by_passkey": keys.approvals})


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
    (Region("nav", "parts/navigation.html"), Region("passkeys", "settings/passkeys.html")),
)
SETTINGS = Room(
    pages=(PAGE,),
    actions=(
        Action("/settings/passkeys", AddPasskeyInput, add),
        Action("/settings/passkeys/{id}/remove", RemovePasskeyInput, remove),
    ),
)

"""Passkeys of operators: list, add and remove. A browser with the passkey makes the touches; see `hive dashboard`."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from api.operations.base import CHANGES, OPERATORS, READS, REMOVES, Call, Input, Nothing, Route, operation
from api.sockets.principals import Operator
from reconciler.access.passkeys import Holder, Passkey
from reconciler.common.touch import LONGEST

ID = Field(pattern="^[A-Za-z0-9_-]{1,1400}$", description="the passkey's id", examples=["Ag3kz1bW"])
TOUCH = Field("", max_length=LONGEST, description="the touch of an existing passkey, if one is needed")


@dataclass(frozen=True, slots=True)
class PasskeyView:
    """One passkey. `owner` is the operator as tags name them, `own`: it is the caller's. Times are Unix seconds."""

    id: str
    owner: str
    name: str
    added_at: int
    used_at: int | None
    own: bool


@dataclass(frozen=True, slots=True)
class PasskeyList:
    """The passkeys of the hive. `approvals`: an approval needs the touch of one."""

    approvals: bool
    passkeys: list[PasskeyView]


@dataclass(frozen=True, slots=True)
class Challenge:
    """A question to a passkey: JSON for the browser's `navigator.credentials.get`; "" if no touch is needed."""

    options: str


@dataclass(frozen=True, slots=True)
class NewPasskey:
    """JSON for the browser's `navigator.credentials.create`, and for the touch of an existing passkey, "" if none."""

    options: str
    touch: str


class PasskeyInput(Input):
    """One passkey."""

    id: str = ID


class AddPasskeyInput(Input):
    """A new passkey, as the browser made it for the options of `new_passkey`."""

    credential: str = Field(max_length=LONGEST, description="JSON of the browser's credential")
    name: str = Field("", max_length=200, description="a word for it, e.g. of the device")
    touch: str = TOUCH


class RemovePasskeyInput(PasskeyInput):
    """One passkey, and the touch of one."""

    touch: str = TOUCH


def holder_of(call: Call) -> Holder:
    """Return the caller as passkeys know them."""
    principal = call.principal
    if not isinstance(principal, Operator):
        raise AssertionError("unreachable: only operators may call")
    return Holder(principal.who, principal.uid, principal.user, call.session)


@operation("passkeys", OPERATORS, READS, routes=(Route("GET", "/api/dashboard/passkeys"),))
async def passkeys(call: Call, _asked: Nothing) -> PasskeyList:
    """List the passkeys of all operators."""
    keys = call.service.passkeys
    return PasskeyList(keys.required, [_view(each, call) for each in await keys.present()])


@operation("new_passkey", OPERATORS, CHANGES, routes=(Route("POST", "/api/dashboard/passkeys/new"),))
async def new_passkey(call: Call, _asked: Nothing) -> NewPasskey:
    """Begin to add a passkey for the caller: return what the browser needs to make one. Valid for two minutes."""
    offer = await call.service.passkeys.offer(holder_of(call))
    return NewPasskey(offer.options, offer.touch)


@operation("add_passkey", OPERATORS, CHANGES, routes=(Route("POST", "/api/dashboard/passkeys", status=201),))
async def add_passkey(call: Call, asked: AddPasskeyInput) -> PasskeyView:
    """Keep a passkey that the browser made. If passkeys approve, the touch of an existing one is needed too."""
    added = await call.service.passkeys.add(holder_of(call), asked.credential, asked.name, asked.touch)
    return _view(added, call)


@operation("passkey_removal", OPERATORS, CHANGES, routes=(Route("POST", "/api/dashboard/passkeys/{id}/challenge"),))
async def removal(call: Call, asked: PasskeyInput) -> Challenge:
    """Ask an existing passkey for the touch that a removal needs, if passkeys approve."""
    return Challenge(await call.service.passkeys.removal(holder_of(call), asked.id))


@operation("remove_passkey", OPERATORS, REMOVES, routes=(Route("POST", "/api/dashboard/passkeys/{id}/remove"),))
async def remove_passkey(call: Call, asked: RemovePasskeyInput) -> PasskeyView:
    """Remove a passkey. What it approved stays valid."""
    return _view(await call.service.passkeys.remove(holder_of(call), asked.id, asked.touch), call)


def _view(passkey: Passkey, call: Call) -> PasskeyView:
    own = passkey.owner == call.who
    return PasskeyView(passkey.id, passkey.owner, passkey.name, passkey.added_at, passkey.used_at, own)


PASSKEYS = (passkeys, new_passkey, add_passkey, removal, remove_passkey)

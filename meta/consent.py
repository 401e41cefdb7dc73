"""How an operator consented to an approval, as trailers of the tag `approved/<id>`. Pure.

The tag is the record of a decision: an object of git that is never pruned, that backups copy, and whose name an audit
keeps. So the assertion of a passkey is there too (ADR 0033), in parts, since one trailer is a short line.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

HOW, PART = "Hive-Consent", "Hive-Assertion-"
PART_LENGTH = 400
PARTS_MOST = 24
"""Trailers of one assertion, at most. They have room for keys and signatures of RSA, and for long ids."""


class How(StrEnum):
    """What stands behind an approval, other than a click."""

    PASSKEY = "passkey"
    ROOT = "root without passkey"
    DECLARED = "declared"
    """The host's configuration declared it: whoever may run nixos-rebuild."""
    COMMAND = "command"
    """A command whose approval is part of it: spawn, roll back."""


@dataclass(frozen=True, slots=True)
class ApprovalCard:
    """The facts of one approval that a touch confirms. `hive` is its id, `shown` the fingerprint of the preview."""

    hive: str
    agent: str
    id: int
    commit: str
    shown: str = ""
    unseen: bool = False
    action: str = "approve"


@dataclass(frozen=True, slots=True)
class Assertion:
    """All that the check of one touch needs. Bytes are those that the browser sent; `at` is in Unix seconds."""

    card: ApprovalCard
    nonce: bytes
    by: str
    credential: bytes
    key: bytes
    authenticator_data: bytes
    client_data: bytes
    signature: bytes
    origin: str
    rp: str
    at: int

    @property
    def challenge(self) -> bytes:
        """Return the challenge that the passkey has to have signed."""
        return challenge(self.nonce, asdict(self.card))

    def encode(self) -> str:
        """Return it as text on one line, in base64: nothing in it looks like a secret or a space."""
        values: dict[str, object] = {name: getattr(self, name) for name in _KINDS}
        values |= {name: base64.b64encode(getattr(self, name)).decode() for name in _BYTES}
        return base64.b64encode(canonical({"card": asdict(self.card), **values})).decode()


@dataclass(frozen=True, slots=True)
class Consent:
    """How an approval was consented to. `assertion` is the record of a touch, encoded."""

    how: How
    assertion: str = field(default="", repr=False)

    def trailers(self) -> dict[str, str]:
        """Return the trailers of the tag `approved/<id>`. Raise ValueError for an assertion that is too long."""
        parts = [self.assertion[at : at + PART_LENGTH] for at in range(0, len(self.assertion), PART_LENGTH)]
        if len(parts) > PARTS_MOST:
            raise ValueError("the assertion is too long")
        return {HOW: self.how.value} | {f"{PART}{n}": part for n, part in enumerate(parts, 1)}


def how_of(trailers: Mapping[str, str]) -> str:
    """Return what a tag says of its consent; "" if nothing: no passkey was asked for."""
    return trailers.get(HOW, "")


def assertion_of(trailers: Mapping[str, str]) -> Assertion | None:
    """Return the assertion in trailers; None without one. Raise ValueError if it cannot be read."""
    text = ""
    for n in range(1, PARTS_MOST + 1):
        if (part := trailers.get(f"{PART}{n}")) is None:
            break
        text += part
    return decode(text) if text else None


def decode(text: str) -> Assertion:
    """Return what `Assertion.encode` wrote. Raise ValueError."""
    try:
        values = json.loads(base64.b64decode(text, validate=True))
        card = ApprovalCard(**values["card"])
        raw = {name: values[name] for name in _KINDS}
        raw |= {name: base64.b64decode(values[name], validate=True) for name in _BYTES}
        assertion = Assertion(card=card, **raw)
    except (binascii.Error, UnicodeDecodeError, RecursionError, KeyError, TypeError, ValueError) as error:
        raise ValueError("the assertion cannot be read") from error
    if not _sound(assertion):
        raise ValueError("the assertion has values of another kind")
    return assertion


def canonical(card: Mapping[str, object]) -> bytes:
    """Return the one spelling of a card: JSON with sorted keys, without spaces, in ASCII."""
    return json.dumps(card, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def challenge(nonce: bytes, card: Mapping[str, object]) -> bytes:
    """Return the challenge for a card: SHA-256 of the nonce and the card in its one spelling."""
    return hashlib.sha256(nonce + canonical(card)).digest()


_BYTES = ("nonce", "credential", "key", "authenticator_data", "client_data", "signature")
_KINDS: dict[str, type[Any]] = {"by": str, "origin": str, "rp": str, "at": int}
_CARD: dict[str, type[Any]] = {
    "hive": str,
    "agent": str,
    "id": int,
    "commit": str,
    "shown": str,
    "unseen": bool,
    "action": str,
}


def _sound(assertion: Assertion) -> bool:
    return all(type(getattr(assertion, name)) is kind for name, kind in _KINDS.items()) and all(
        type(getattr(assertion.card, name)) is kind for name, kind in _CARD.items()
    )

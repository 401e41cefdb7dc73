"""Challenges that wait for a touch of a passkey: each for one purpose and one session, once, for two minutes.

They are in memory only: a daemon that starts anew knows none, and the page asks for another one. That of a login is not
even there, but sealed: whoever asks for many takes the place of nobody's.
"""

from __future__ import annotations

import hmac
import secrets
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from meta.consent import challenge
from meta.errors import Refused
from reconciler.common.touch import AGAIN

LIFETIME = 120.0
"""Seconds until a challenge is void."""
OF_ONE = 16
"""Challenges of one holder, at most: a further one takes the place of the oldest."""
_NONCE = 32
"""Bytes of a login's challenge that hold the time and what is random. Their seal follows."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One challenge: `card` says what a touch of it confirms, `holder` who asked, "" before a login.

    `until` is the time after which it is void.
    """

    challenge: bytes
    nonce: bytes
    holder: str
    card: Mapping[str, object]
    until: float


class Challenges:
    """The challenges of one daemon. `clock` gives seconds that only grow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: dict[bytes, Waiting] = {}
        self._key = secrets.token_bytes(32)
        self._spent: dict[bytes, float] = {}

    def make(self, holder: str, card: Mapping[str, object]) -> Waiting:
        """Make a challenge for a card: the hash of a new nonce and the card."""
        now = self._clock()
        self._waiting = {key: each for key, each in self._waiting.items() if each.until > now}
        own = [key for key, each in self._waiting.items() if each.holder == holder]
        for key in own[: max(0, len(own) + 1 - OF_ONE)]:
            del self._waiting[key]
        nonce = secrets.token_bytes(32)
        made = Waiting(challenge(nonce, card), nonce, holder, card, now + LIFETIME)
        self._waiting[made.challenge] = made
        return made

    def take(self, challenge: bytes, holder: str, action: str) -> Waiting:
        """Return what a challenge was made for, and forget it. Raise Refused unless it is this holder's, for this."""
        found = self._waiting.get(challenge)
        if found is None or found.holder != holder or found.card["action"] != action:
            raise _closed()
        del self._waiting[challenge]
        if found.until <= self._clock():
            raise _late()
        return found

    def make_login(self, card: Mapping[str, object]) -> Waiting:
        """Make a challenge for somebody who is not logged in."""
        now = self._clock()
        nonce = struct.pack(">d", now) + secrets.token_bytes(_NONCE - 8)
        return Waiting(nonce + self._seal(nonce), nonce, "", card, now + LIFETIME)

    def check_login(self, challenge: bytes, card: Mapping[str, object]) -> Waiting:
        """Return the challenge of a login, as `make_login` made it. Raise Refused for any other, and for a late one."""
        nonce, seal = challenge[:_NONCE], challenge[_NONCE:]
        if len(nonce) != _NONCE or not hmac.compare_digest(seal, self._seal(nonce)) or challenge in self._spent:
            raise _closed()
        (made,) = struct.unpack(">d", nonce[:8])
        if made + LIFETIME <= self._clock():
            raise _late()
        return Waiting(challenge, nonce, "", card, made + LIFETIME)

    def spend_login(self, login: Waiting) -> None:
        """Let a valid touch of a login's challenge count once. Raise Refused for a second one."""
        now = self._clock()
        self._spent = {key: until for key, until in self._spent.items() if until > now}
        if login.challenge in self._spent or login.until <= now:
            raise _closed()
        self._spent[login.challenge] = login.until

    def _seal(self, nonce: bytes) -> bytes:
        return hmac.digest(self._key, nonce, "sha256")


def _closed() -> Refused:
    return Refused("the touch answers no question that is open here", AGAIN)


def _late() -> Refused:
    return Refused(f"the touch came later than {LIFETIME:.0f} s after the question", AGAIN)

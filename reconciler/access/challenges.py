"""Challenges that wait for a touch of a passkey: each for one purpose and one session, once, for two minutes.

They are in memory only: a daemon that starts anew knows none, and the page asks for another one.
"""

from __future__ import annotations

import secrets
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
OF_NOBODY = 256
"""Challenges of those who have not logged in yet, all together."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One challenge: `card` says what a touch of it confirms, `holder` who asked, "" before a login."""

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

    def make(self, holder: str, card: Mapping[str, object]) -> Waiting:
        """Make a challenge for a card: the hash of a new nonce and the card."""
        now = self._clock()
        self._waiting = {key: each for key, each in self._waiting.items() if each.until > now}
        own = [key for key, each in self._waiting.items() if each.holder == holder]
        for key in own[: max(0, len(own) + 1 - (OF_ONE if holder else OF_NOBODY))]:
            del self._waiting[key]
        nonce = secrets.token_bytes(32)
        made = Waiting(challenge(nonce, card), nonce, holder, card, now + LIFETIME)
        self._waiting[made.challenge] = made
        return made

    def take(self, challenge: bytes, holder: str, action: str) -> Waiting:
        """Return what a challenge was made for, and forget it. Raise Refused unless it is this holder's, for this."""
        found = self._waiting.get(challenge)
        if found is None or found.holder != holder or found.card["action"] != action:
            raise Refused("the touch answers no question that is open here", AGAIN)
        del self._waiting[challenge]
        if found.until <= self._clock():
            raise Refused(f"the touch came later than {LIFETIME:.0f} s after the question", AGAIN)
        return found

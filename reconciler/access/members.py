"""Whether a user of the host may still use the operator's sockets, and so the dashboard."""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
import time
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

CACHED = 30.0
"""Seconds for which an answer counts."""
LOOKUP_DEADLINE = 5.0
"""Seconds that the host's user database may take. It may be on another machine."""
_MOST = 1_000
ROOT = 0


def groups_of(uid: int) -> frozenset[int]:
    """Return the ids of the groups of a user of this host; none for an unknown uid. It may block."""
    try:
        user = pwd.getpwuid(uid)
    except (KeyError, OverflowError):
        return frozenset()
    return frozenset(os.getgrouplist(user.pw_name, user.pw_gid))


class Members:
    """Root, the daemon's own user, and the members of the group of `socket`, which is the operator's.

    `lookup` returns the groups of a uid, and may block. `clock` gives seconds that only grow.
    """

    def __init__(
        self,
        socket: Path,
        lookup: Callable[[int], frozenset[int]] = groups_of,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._socket = socket
        self._lookup = lookup
        self._clock = clock
        self._group = os.getegid()
        self._known: dict[int, tuple[float, bool]] = {}

    async def has(self, uid: int) -> bool:
        """Return True if the user is a member now, or was one at most CACHED seconds ago.

        While the host does not answer, its last answer counts; without one, nobody else is a member.
        """
        if uid in (ROOT, os.geteuid()):
            return True
        now = self._clock()
        before = self._known.get(uid)
        if before is not None and now - before[0] < CACHED:
            return before[1]
        try:
            async with asyncio.timeout(LOOKUP_DEADLINE):
                groups = await asyncio.to_thread(self._lookup, uid)
        except (OSError, TimeoutError) as error:
            log.warning(
                "the groups of uid %d are not known now: %s", uid, error or "no answer", extra={"limited": "groups"}
            )
            return before is not None and before[1]
        if len(self._known) >= _MOST:
            self._known.clear()
        found = self._socket_group() in groups
        self._known[uid] = (now, found)
        return found

    def _socket_group(self) -> int:
        """Return the group of the socket. While the socket is missing, that which it had before."""
        try:
            self._group = self._socket.stat().st_gid
        except OSError:
            log.debug("%s is missing; the group %d counts", self._socket, self._group)
        return self._group

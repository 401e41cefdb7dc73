"""The way out as the turns see it: whether one may begin, where the CLI finds its model, and what was refused."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from harness import state_file
from harness.relay.egress import SOCKET, Misses
from harness.runtimes.base import Access
from harness.way_out.answer import Answer, Older, Silent, ask
from meta.network.routes import KINDS, MODEL_ROUTES
from meta.network.variables import git_variables

log = logging.getLogger(__name__)

SEEN_FILE = "hyperhive-way-out"
"""The file of the number up to which the agent was told what was refused."""
FRESH_SECONDS = 2.0
"""Seconds that an answer is good for."""
SHOWN = 10
"""Refused hosts that a turn is told of, at most."""
SILENT = "the way out does not answer: hive-egress is down, see `hive doctor`; it is asked again"


class WayOut:
    """The way out of one agent. `url` is the relay's, `kept` the folder of what the harness keeps.

    Without the socket's directory there is no way out, and none is waited for.
    """

    def __init__(
        self,
        directory: Path,
        url: str,
        runtime: str,
        kept: Path,
        misses: Misses,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._url = url
        self._kinds = MODEL_ROUTES.get(runtime, ())
        self._file = kept / SEEN_FILE
        self._misses = misses
        self._clock = clock
        self._asked_at = -FRESH_SECONDS
        self._why = ""
        self._answer = Answer()
        self._access = Access(root=url)
        self._seen = _number(state_file.read(self._file, 64))
        self._shown: int | None = None
        self.known = False
        """It answered at least once, or there is none."""

    def access(self) -> Access:
        """Return how the CLI reaches its model and its keys."""
        return self._access

    @property
    def key(self) -> str:
        """Return the kind of the key outside by which the CLI reaches its model. Empty: it needs a login."""
        return self._access.api(self._kinds).kind

    @property
    def misses(self) -> int:
        """Return how many connections of the CLI and its tools found no way out."""
        return self._misses.count

    async def look(self, *, fresh: bool = False) -> str:
        """Return why no turn may begin, "" if one may. An answer that is fresh enough is not asked for again."""
        now = self._clock()
        if fresh or now - self._asked_at >= FRESH_SECONDS:
            self._why = await self._look()
            self._asked_at = self._clock()
        return self._why

    def lines(self) -> Sequence[str]:
        """Return what was refused since the agent was last told, in words of hive."""
        refused = sorted(self._answer.refused, key=lambda row: (-row.count, row.host, row.port))
        self._shown = self._answer.next
        if not refused:
            return ()
        rest = len(refused[SHOWN:]) + self._answer.more
        more = [f"refused: {rest} more hosts"] if rest > 0 else []
        lines = [*(f"refused: {row.text}" for row in refused[:SHOWN]), *more]
        return ["Hosts that this container may not reach; ask with request_network if you need one:", *lines]

    def mark_shown(self) -> None:
        """Note that the agent knows what `lines` returned last. The turn that ended may have been refused more."""
        self._asked_at = -FRESH_SECONDS
        if self._shown is not None and self._shown != self._seen:
            self._seen, self._shown = self._shown, None
            self._answer = Answer(self._answer.routes, self._answer.upstreams, self._answer.held, (), self._seen)
            state_file.write(self._file, f"{self._seen}\n")

    async def _look(self) -> str:
        if not self._directory.is_dir():
            self.known = True
            return ""
        try:
            answer = await ask(self._directory / SOCKET, self._seen)
            if answer.next < self._seen:  # its counters began anew
                self._seen = 0
                answer = await ask(self._directory / SOCKET, 0)
        except Silent:
            return SILENT if self._kinds else ""
        except Older:
            self.known, self._answer, self._access = True, Answer(next=self._seen), Access(root=self._url)
            return ""
        self.known, self._answer = True, answer
        self._access = Access(None, self._routes(answer), git_variables(self._url, _git_keys(answer)))
        return answer.held if self._kinds else ""

    def _routes(self, answer: Answer) -> dict[str, str]:
        """Return the URL of the first route of each kind, in the order of the operator's file."""
        urls: dict[str, str] = {}
        for name, kind in answer.routes.items():
            urls.setdefault(kind, f"{self._url}/{name}")
        return urls


def _git_keys(answer: Answer) -> dict[str, str]:
    """Return the upstream of each key of kind git."""
    names = [name for name, kind in answer.routes.items() if kind == "git"]
    return {name: answer.upstreams.get(name, KINDS["git"].upstream) for name in names}


def _number(text: str | None) -> int:
    digits = (text or "").strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else 0

"""Reports of agents' own pods. hive is the parent of these pods; the manager gets one line for each that it asked for.

A report may be lost, come twice or late: none changes anything but the manager's inbox. Two agents never wake each
other by them: the manager's own turns are not reported, nor those that go back to a report (docs/howto/pods.md).
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from meta.errors import HiveError
from meta.names import HIVE, MANAGER, AgentName
from meta.wire.link import PodReport
from meta.wire.pod import PodEvent
from reconciler.common.token_bucket import Bucket
from reconciler.observe.links import Links
from reconciler.observe.sender import Sender
from reconciler.pods.sentences import Told, told
from reconciler.ports import LinkPeer
from reconciler.store.connection import Transaction
from reconciler.store.database import Database
from reconciler.store.messages.causes import comes_from
from reconciler.store.notices import has_room, post

log = logging.getLogger(__name__)

TOPIC = "pod_report:"
AT_ONCE = 10
"""Reports of one agent at once, at most."""
PER_MINUTE = 2
REMEMBERED = 64
"""Reports of one agent that are known when they come again."""
_OF_TURNS = frozenset({"turn_ended", "errored"})
_EVENT: TypeAdapter[PodEvent] = TypeAdapter(PodEvent)


@dataclass(slots=True)
class _Known:
    bucket: Bucket
    seen: deque[tuple[object, ...]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))


class PodReports:
    """The reports. `wanted` returns the kinds that the manager asked for. `wake` wakes the receivers of an inbox."""

    def __init__(
        self,
        links: Links,
        database: Database,
        wanted: Callable[[], Awaitable[frozenset[str]]],
        wake: Callable[[str], None],
        sender: Sender,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._links = links
        self._database = database
        self._wanted = wanted
        self._wake = wake
        self._sender = sender
        self._clock = clock
        self._known: dict[AgentName, _Known] = {}

    def take(self, agent: AgentName, peer: LinkPeer, report: PodReport) -> None:
        """Take a report. One that came before, is not of the agent's own pod, or comes too fast is dropped."""
        if agent == MANAGER or self._links.peer(agent) is not peer:
            return
        try:
            news = told(agent, _EVENT.validate_python(report.event))
        except (ValidationError, RecursionError):
            log.warning("%s: a report of its pod was not understood", agent, extra={"limited": f"{agent} reports"})
            return
        if news is not None and self._is_new(agent, news):
            self._sender.start(self._tell(agent, news))

    async def forget(self, agent: AgentName) -> None:
        """Forget an agent that was destroyed."""
        self._known.pop(agent, None)

    def _is_new(self, agent: AgentName, news: Told) -> bool:
        view, now = self._links.view(agent), self._clock()
        known = self._known.setdefault(agent, _Known(Bucket(float(AT_ONCE), now)))
        key = (view.nonce, view.turn_number, news.kind, news.detail)
        if key in known.seen:
            return False
        bucket, wait = known.bucket.take(now, PER_MINUTE, most=AT_ONCE)
        if wait:
            return False
        known.bucket = bucket
        known.seen.append(key)
        return True

    async def _tell(self, agent: AgentName, news: Told) -> None:
        topic, now = f"{TOPIC}{agent}", int(self._clock())

        def work(connection: Transaction) -> bool:
            if not has_room(connection, MANAGER, topic):
                return False
            if news.kind in _OF_TURNS and comes_from(connection, agent, TOPIC):
                return False
            return post(connection, HIVE, MANAGER, news.text, now, topic=topic) is not None

        try:
            if news.kind in await self._wanted() and await self._database.write(work):
                self._wake(MANAGER)
        except HiveError as error:
            log.warning("%s: a report of its pod is lost: %s", agent, error, extra={"limited": f"{agent} reports"})

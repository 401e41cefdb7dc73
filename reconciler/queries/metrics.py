"""The values of the gauges, and every metric as text for Prometheus."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from meta.errors import HiveError
from reconciler.attention.registry import count_kinds
from reconciler.loop.loop import Reconciler
from reconciler.network.way_out import WayOut
from reconciler.proposals.discovery import Discovery
from reconciler.queries.status import StatusQuery
from reconciler.store import damaged
from reconciler.telemetry.egress import EgressView
from reconciler.telemetry.metrics import Snapshot, database_bytes, disk_bytes
from reconciler.world import World

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MetricsQuery:
    """The metrics query."""

    world: World
    loop: Reconciler
    status: StatusQuery
    discovery: Discovery
    way_out: WayOut

    async def __call__(self) -> bytes:
        """Return every metric as text. If the agents cannot be read, their gauges are left out."""
        try:
            snapshot = await self.snapshot()
        except HiveError as error:
            log.warning("the metrics of agents cannot be read: %s", error.summary)
            snapshot = None
        return self.world.metrics.render(snapshot, self.loop.queue.depth())

    async def snapshot(self) -> Snapshot:
        """Return the values of the gauges."""
        layout, broker = self.world.layout, self.world.broker
        seen = await self.status.see()
        return Snapshot(
            status=seen.status,
            unread=await broker.unread_all(),
            pending=tuple(card.requested_at for card in seen.proposals),
            disk=disk_bytes(layout.state),
            database=database_bytes(layout.database),
            dead=await broker.dead_all(),
            refused={name: len(self.discovery.refused(name)) for name in self.world.observer.known().agents},
            watching=not self.discovery.notes(),
            set_aside=len(damaged.files(layout.database)),
            attention=count_kinds(seen.rows),
            egress=EgressView(self.way_out.report, not self.way_out.problem, self.way_out.starts),
        )

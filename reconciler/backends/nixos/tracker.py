"""The containers' units, kept up to date by signals of systemd and machined, without polling or running a program.

A unit is read as a whole in three cases: at first, after the bus reconnects, and after a signal without values (the end
of a job or of a machine). All other changes are in PropertiesChanged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from meta.errors import HiveError
from meta.names import AgentName
from reconciler.backends.nixos.bus import Bus, BusError, Signal
from reconciler.backends.nixos.units import UnitView, agent_of_path, agent_of_unit, merged, object_path

log = logging.getLogger(__name__)

SYSTEMD, MANAGER_PATH = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
MANAGER = f"{SYSTEMD}.Manager"
PROPERTIES = "org.freedesktop.DBus.Properties"
MACHINES = "org.freedesktop.machine1"
RULES = (
    f"type='signal',sender='{SYSTEMD}',interface='{PROPERTIES}',member='PropertiesChanged',"
    f"path_namespace='{MANAGER_PATH}/unit'",
    f"type='signal',sender='{SYSTEMD}',interface='{MANAGER}',member='JobRemoved'",
    f"type='signal',sender='{SYSTEMD}',interface='{MANAGER}',member='UnitRemoved'",
    f"type='signal',sender='{MACHINES}',interface='{MACHINES}.Manager',member='MachineRemoved'",
)
_ATTEMPTS = 5


class Tracker:
    """The units of all containers. `on_change` is called on the loop if a unit's view changed."""

    def __init__(self, bus: Bus, on_change: Callable[[AgentName], None]) -> None:
        self._bus = bus
        self._on_change = on_change
        self._views: dict[AgentName, UnitView] = {}
        self._stamps: dict[AgentName, int] = {}
        self._agents: Callable[[], frozenset[AgentName]] = frozenset
        self._refreshes: dict[AgentName, asyncio.Task[None]] = {}

    async def open(self, agents: Callable[[], frozenset[AgentName]]) -> None:
        """Connect and read the units of `agents`. Read them again after each lost connection."""
        self._agents = agents
        await self._bus.open(RULES, self._on_signal, self._on_up, lambda: None)

    async def close(self) -> None:
        """Stop refreshing and disconnect."""
        for task in self._refreshes.values():
            task.cancel()
        await asyncio.gather(*self._refreshes.values(), return_exceptions=True)
        self._refreshes.clear()
        await self._bus.close()

    @property
    def ready(self) -> bool:
        """True if `view` is up to date. Otherwise `view` is the last known state."""
        return self._bus.ready

    def view(self, agent: AgentName) -> UnitView | None:
        """Return the unit as it was last read; None if it was never read."""
        return self._views.get(agent)

    async def refresh(self, agent: AgentName) -> UnitView:
        """Read the unit and return it. Raise TransientError if systemd cannot be reached."""
        for _ in range(_ATTEMPTS):
            stamp = self._stamps.get(agent, 0)
            answer = await self._bus.call(SYSTEMD, object_path(agent), PROPERTIES, "GetAll", "s", "")
            if stamp == self._stamps.get(agent, 0):  # else a signal arrived meanwhile and may be newer
                properties = answer[0] if answer and isinstance(answer[0], dict) else {}
                self._put(agent, merged(UnitView(), properties))
                break
        return self._views[agent]

    async def machine_is_registered(self, agent: AgentName) -> bool:
        """Return True if machined has a machine of that name. That machine may have ended."""
        try:
            await self._bus.call(MACHINES, "/org/freedesktop/machine1", f"{MACHINES}.Manager", "GetMachine", "s", agent)
        except BusError:
            return False
        return True

    async def _on_up(self) -> None:
        await self._bus.call(SYSTEMD, MANAGER_PATH, MANAGER, "Subscribe")
        listed = await self._bus.call(
            SYSTEMD, MANAGER_PATH, MANAGER, "ListUnitsByPatterns", "asas", [], ["container@*.service"]
        )
        units = listed[0] if listed and isinstance(listed[0], list) else []
        loaded = {agent_of_unit(str(unit[0])) for unit in units}
        for agent in self._agents() | self._views.keys():
            if agent in loaded:
                await self.refresh(agent)
            else:  # to read it would make systemd load it
                self._put(agent, UnitView())

    def _on_signal(self, signal: Signal) -> None:
        body = signal.body
        match signal.member:
            case "PropertiesChanged" if len(body) > 1 and isinstance(body[1], dict):
                self._on_properties(agent_of_path(signal.path), body[1])
            case "UnitRemoved" if body:
                self._on_removed(agent_of_unit(str(body[0])))
            case "JobRemoved" if len(body) > 2:
                self._request(agent_of_unit(str(body[2])))
            case "MachineRemoved" if body:
                self._request(agent_of_unit(f"container@{body[0]}.service"))

    def _on_properties(self, agent: AgentName | None, properties: dict[str, object]) -> None:
        if agent is not None:
            self._put(agent, merged(self._views.get(agent, UnitView()), properties))

    def _on_removed(self, agent: AgentName | None) -> None:
        """Read a unit again after systemd unloaded it. A daemon-reload sends the same signal."""
        known = self._views.get(agent) if agent is not None else None
        if known is not None and known.up:  # to read one that is down makes systemd load and remove it again
            self._request(agent)

    def _request(self, agent: AgentName | None) -> None:
        """Refresh a unit that hive knows, in a task of its own. Each unit has at most one such task."""
        if agent is None or agent not in self._views:
            return
        task = self._refreshes.get(agent)
        if task is not None and not task.done():
            self._stamps[agent] = self._stamps.get(agent, 0) + 1  # the running refresh reads the unit again
            return
        name = f"look at {agent}'s unit"
        self._refreshes[agent] = asyncio.get_running_loop().create_task(self._look(agent), name=name)

    async def _look(self, agent: AgentName) -> None:
        try:
            await self.refresh(agent)
        except HiveError as error:  # no bus: all is read again after it reconnects
            log.debug("%s: %s", agent, error.summary)

    def _put(self, agent: AgentName, view: UnitView) -> None:
        self._stamps[agent] = self._stamps.get(agent, 0) + 1
        before = self._views.get(agent)
        self._views[agent] = view
        if view != before:
            self._on_change(agent)

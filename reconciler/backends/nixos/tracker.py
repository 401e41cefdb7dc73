"""The containers' units, kept from systemd's and machined's signals: no polling, no program, no parsing of output.

A unit is asked for as a whole when it is first of interest, after the bus was away, and after a signal that says
"something happened" without the values (a job's end, a machine's end). All else is in PropertiesChanged.
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
    """`on_change` is called on the loop whenever a unit's view changed."""

    def __init__(self, bus: Bus, on_change: Callable[[AgentName], None]) -> None:
        self._bus = bus
        self._on_change = on_change
        self._views: dict[AgentName, UnitView] = {}
        self._stamps: dict[AgentName, int] = {}
        self._interesting: Callable[[], frozenset[AgentName]] = frozenset
        self._asked: dict[AgentName, asyncio.Task[None]] = {}

    async def open(self, interesting: Callable[[], frozenset[AgentName]]) -> None:
        """Connect and read the units of the `interesting` agents; they are read again after the bus was away."""
        self._interesting = interesting
        await self._bus.open(RULES, self._on_signal, self._on_up, lambda: None)

    async def close(self) -> None:
        """Let go of the bus."""
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)
        self._asked.clear()
        await self._bus.close()

    @property
    def ready(self) -> bool:
        """Whether what `view` says is up to date. False: it is what was last known."""
        return self._bus.ready

    def view(self, agent: AgentName) -> UnitView | None:
        """The unit as it was last seen; None when it never was."""
        return self._views.get(agent)

    async def refresh(self, agent: AgentName) -> UnitView:
        """The unit as it is now. TransientError when systemd cannot be asked."""
        for _ in range(_ATTEMPTS):
            stamp = self._stamps.get(agent, 0)
            answer = await self._bus.call(SYSTEMD, object_path(agent), PROPERTIES, "GetAll", "s", "")
            if stamp == self._stamps.get(agent, 0):  # else a signal came in between and may be newer
                properties = answer[0] if answer and isinstance(answer[0], dict) else {}
                self._put(agent, merged(UnitView(), properties))
                break
        return self._views[agent]

    async def machine_is_registered(self, agent: AgentName) -> bool:
        """Whether machined has a machine of that name. It may be one that is gone."""
        try:
            await self._bus.call(MACHINES, "/org/freedesktop/machine1", f"{MACHINES}.Manager", "GetMachine", "s", agent)
        except BusError:
            return False
        return True

    async def _on_up(self) -> None:
        await self._bus.call(SYSTEMD, MANAGER_PATH, MANAGER, "Subscribe")
        listed = await self._bus.call(
            *(SYSTEMD, MANAGER_PATH, MANAGER, "ListUnitsByPatterns", "asas"), [], ["container@*.service"]
        )
        units = listed[0] if listed and isinstance(listed[0], list) else []
        loaded = {agent_of_unit(str(unit[0])) for unit in units}
        for agent in self._interesting() | self._views.keys():
            if agent in loaded:
                await self.refresh(agent)
            else:  # to ask for it would make systemd load it
                self._put(agent, UnitView())

    def _on_signal(self, signal: Signal) -> None:
        body = signal.body
        match signal.member:
            case "PropertiesChanged":
                agent = agent_of_path(signal.path)
                if agent is not None and len(body) > 1 and isinstance(body[1], dict):
                    self._put(agent, merged(self._views.get(agent, UnitView()), body[1]))
            case "UnitRemoved":  # forgotten, or a daemon-reload, which shows the same
                agent = agent_of_unit(str(body[0])) if body else None
                known = self._views.get(agent) if agent is not None else None
                if known is not None and known.up:  # to ask for one that is down makes systemd load and remove it again
                    self._ask(agent)
            case "JobRemoved":
                self._ask(agent_of_unit(str(body[2])) if len(body) > 2 else None)
            case "MachineRemoved":
                self._ask(agent_of_unit(f"container@{body[0]}.service") if body else None)

    def _ask(self, agent: AgentName | None) -> None:
        """Refresh a unit that hive knows, beside everything else; one question at a time."""
        if agent is None or agent not in self._views:
            return
        asked = self._asked.get(agent)
        if asked is not None and not asked.done():
            self._stamps[agent] = self._stamps.get(agent, 0) + 1  # what is under way asks again
            return
        name = f"look at {agent}'s unit"
        self._asked[agent] = asyncio.get_running_loop().create_task(self._look(agent), name=name)

    async def _look(self, agent: AgentName) -> None:
        try:
            await self.refresh(agent)
        except HiveError as error:  # the bus is away: all is read again when it is back
            log.debug("%s: %s", agent, error.summary)

    def _put(self, agent: AgentName, view: UnitView) -> None:
        self._stamps[agent] = self._stamps.get(agent, 0) + 1
        before = self._views.get(agent)
        self._views[agent] = view
        if view != before:
            self._on_change(agent)

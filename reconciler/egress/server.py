"""The process `hive-egress`: one policy, one gate and one socket per agent, and the control socket."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from meta.errors import BadInput
from meta.names import AgentName
from meta.network.control import VERSION
from meta.network.operator_watch import OperatorWatch
from meta.network.policy import AgentPolicy, Policy
from meta.network.report import ConnectionRecord, Report
from meta.network.verdict import Verdict
from reconciler.egress.changes import Changes
from reconciler.egress.connection import refuse_connection, serve_connection
from reconciler.egress.control import Control
from reconciler.egress.counters import Book
from reconciler.egress.gate import AgentGate
from reconciler.egress.keys import Keys
from reconciler.egress.limits import REFUSED_AT_ONCE
from reconciler.egress.log import ConnectionLog, write_line
from reconciler.egress.options import Options
from reconciler.egress.places import Places
from reconciler.egress.policy_file import load_policy, save_policy
from reconciler.egress.ports import TUNNEL, Denied
from reconciler.egress.resolver import Lookup, Resolver, system_lookup
from reconciler.egress.sockets import AgentSockets
from reconciler.egress.state import load_counters, save_counters
from reconciler.egress.tunnel import Carrier

TICK = 1.0
"""Seconds between two looks at the directories, the operator's file, and the grants that end."""
SAVE = 5.0


class Server:
    """All of it. Needs a running event loop, and the lock of the state directory."""

    def __init__(
        self,
        options: Options,
        lookup: Lookup = system_lookup,
        log: Callable[[str], None] = write_line,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._options = options
        self._lookup = lookup
        self._log = log
        self._clock = clock
        self._started = clock()
        self._changes = Changes()
        self._carrier = Carrier()
        self._places = Places()
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        self._keys = Keys(None if credentials is None else Path(credentials))
        self._sockets = AgentSockets(options.sockets, self._accept)
        uids = () if options.daemon_uid is None else (options.daemon_uid,)
        self._network = OperatorWatch(options.network, options.ceiling, trusted=uids)
        self._control = Control(options.control, uids, self, self._changes)
        self._kept, self._counters_problem = load_counters(options.state)
        self._policy, self._policy_problem = load_policy(options.state)
        self._revision = "" if self._policy is None else self._policy.revision
        self._on_disk = self._policy
        self._writing = asyncio.Lock()
        self._gates: dict[AgentName, AgentGate] = {}
        self._clients: dict[AgentName, set[asyncio.Task[None]]] = {}
        self._refused: dict[AgentName, set[asyncio.Task[None]]] = {}
        self._saved = 0.0
        self._saved_number = 0

    async def start(self) -> None:
        """Serve the control socket, and the agents of the kept policy. Raise HiveError."""
        await self._control.start()
        self._obey(self._policy or Policy())
        for problem in self.report().problems:
            self._log(problem)

    async def run(self) -> None:
        """Look at what changes by itself, without an end."""
        while True:
            await asyncio.sleep(self._pause())
            await self.tick()

    async def tick(self) -> None:
        """Look once at the directories, the operator's file, the grants, the tunnels and the counters."""
        reloaded = self._network.reload()
        for gate in self._gates.values():
            if reloaded or gate.is_due():
                gate.review()
        if reloaded:
            self._changes.note()
        if self._sockets.serve(self._gates.keys()):
            self._changes.note()
        now = time.monotonic()
        self._carrier.sweep(asyncio.get_running_loop().time(), self._network.file.idle_seconds)
        if now - self._saved >= SAVE:
            self._saved = now
            await self._keep()
            await self._save()

    async def close(self) -> None:
        """End all connections, remove the sockets, and keep the counters."""
        await self._control.close()
        self._sockets.close()
        tasks = [task for tasks in (*self._clients.values(), *self._refused.values()) for task in tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for gate in self._gates.values():
            gate.upstreams.close()
        save_counters(self._options.state, self._encode_books())

    async def set_policy(self, policy: Policy) -> str:
        """Obey a policy and keep it. Return its revision. What cannot be kept is obeyed too, and is a problem."""
        revision = policy.revision
        self._policy, self._revision = policy.after(self._policy or Policy()), revision
        self._kept = {name: row for name, row in self._kept.items() if name in self._policy.agents}
        self._obey(self._policy)
        await self._keep()
        return revision

    def report(self) -> Report:
        """Return the report of now."""
        problems = (self._network.problem, self._policy_problem, self._counters_problem)
        return Report(
            VERSION,
            self._options.revision,
            os.getpid(),
            self._started,
            self._revision,
            {agent: gate.book.report(self._sockets.problems.get(agent, "")) for agent, gate in self._gates.items()},
            {name: self._keys.problem(route) for name, route in self._network.file.routes.items()},
            tuple(problem for problem in problems if problem),
        )

    def connections(self, agent: AgentName, after: int) -> list[ConnectionRecord]:
        """Return the connections of an agent after a number, none for an agent without a policy."""
        gate = self._gates.get(agent)
        return [] if gate is None else gate.book.connections(after)

    def _obey(self, policy: Policy) -> None:
        for agent, gate in list(self._gates.items()):
            row = policy.agents.get(agent)
            if row is None or row.identity != gate.policy.identity:
                self._drop(agent)
        for agent, row in policy.agents.items():
            if agent not in self._gates:
                self._gates[agent] = self._gate(agent, row)
            elif self._gates[agent].policy != row:
                self._gates[agent].obey(row)
        self._sockets.serve(self._gates.keys())
        self._changes.note()

    def _drop(self, agent: AgentName) -> None:
        """End all of an agent that is gone. Its books end with it."""
        self._gates.pop(agent).close()
        for task in self._clients.pop(agent, set()) | self._refused.pop(agent, set()):
            task.cancel()

    def _gate(self, agent: AgentName, policy: AgentPolicy) -> AgentGate:
        log = ConnectionLog(agent, self._log)
        kept = self._kept.pop(agent, None)
        if kept is not None and kept.get("identity", policy.identity) != policy.identity:
            kept = None
        try:
            book = Book(agent, self._changes.note, log, kept, self._clock)
        except BadInput:
            self._counters_problem = f"the kept counters of {agent} cannot be read: they begin anew"
            book = Book(agent, self._changes.note, log, clock=self._clock)
        resolver = Resolver(self._lookup, self._places)
        return AgentGate(agent, policy, self._network, book, self._keys, resolver, self._clock)

    def _accept(self, agent: AgentName, client: socket.socket) -> None:
        gate = self._gates[agent]
        tasks = self._clients.setdefault(agent, set())
        if len(tasks) >= gate.policy.connections:
            denied = Denied(Verdict.LIMIT, f"{agent}-has-{len(tasks)}-connections (the limit of its policy)")
            gate.refuse(TUNNEL, "", 0, denied)
            self._refuse(agent, client, denied)
            return
        task = asyncio.create_task(serve_connection(client, gate, self._carrier))
        tasks.add(task)
        task.add_done_callback(lambda ended: self._ended(agent, tasks, ended))

    def _refuse(self, agent: AgentName, client: socket.socket, denied: Denied) -> None:
        refused = self._refused.setdefault(agent, set())
        if len(refused) >= REFUSED_AT_ONCE:
            client.close()
            return
        task = asyncio.create_task(refuse_connection(client, denied))
        refused.add(task)
        task.add_done_callback(lambda ended: self._ended(agent, refused, ended))

    def _ended(self, agent: AgentName, tasks: set[asyncio.Task[None]], task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._log(f"{agent} a connection ended by a fault of hive-egress: {type(error).__name__}")

    def _pause(self) -> float:
        now = self._clock()
        ends = [due for gate in self._gates.values() if (due := gate.policy.next_end(now)) is not None]
        return max(0.01, min([TICK, *(end - now for end in ends)]))

    async def _keep(self) -> None:
        """Write the policy of now, unless it is on the disk."""
        async with self._writing:
            policy = self._policy
            if policy is None or policy is self._on_disk:
                return
            problem = await asyncio.to_thread(save_policy, self._options.state, policy)
            self._on_disk = None if problem else policy
            if problem != self._policy_problem:
                self._policy_problem = problem
                self._changes.note()

    async def _save(self) -> None:
        if self._saved_number == self._changes.number:
            return
        self._saved_number = self._changes.number
        self._counters_problem = await asyncio.to_thread(save_counters, self._options.state, self._encode_books())

    def _encode_books(self) -> Mapping[str, Mapping[str, Any]]:
        return {**self._kept, **{agent: _encode_book(gate) for agent, gate in self._gates.items()}}


def _encode_book(gate: AgentGate) -> dict[str, object]:
    return {**gate.book.encode(), "identity": gate.policy.identity}

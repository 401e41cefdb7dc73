"""The sub-agents of one pod: start, talk to, and stop them, and give and take back the right to write.

A sub-agent is a process with a conversation, a socket and a scope of its own. What it may write its parent may not, so
it begins to write only once the parent's CLI has ended with all that it started: `settle`, which the loop calls between
two turns. The task of a sub-agent lies in its folder before it starts, so no restart loses it.

Three facts of a sub-agent are apart: it is recorded (`spawned_pods.json`), reachable (its process lives), visible (its
socket answers). Only the end of its process ends it.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from harness.subagents.further import FurtherPods
from harness.subagents.leases import table as leases_table
from harness.subagents.leases.registry import Registry, SpawnedPod
from harness.subagents.leases.store import LeaseStore
from harness.subagents.leases.table import Allocation, State, Table, check_name
from harness.subagents.peer import ask
from harness.subagents.process import PodProcess, find_pod, last_words, start_pod
from harness.subagents.shown import UNREACHABLE, info_of, line_of, state_of, texts_of
from harness.subagents.targets import find_targets
from harness.subagents.watch import Seen, watch
from meta.errors import BadInput, HiveError, NotFound, Refused
from meta.process.identity import ProcessIdentity
from meta.scope.rules import Rule, Scope
from meta.text import one_line
from meta.wire import pod
from meta.wire.link import PodInfo

log = logging.getLogger(__name__)

READY_SECONDS = 20.0
"""Seconds that a sub-agent has to serve its socket."""
TASK_LIMIT = 200 * 1024
"""Characters of a task."""
OUTPUT_LIMIT = 64 * 1024
"""Characters of the text that one read returns."""
LOG = "stderr.log"
RESERVED = frozenset({"pod"})
"""Names that no sub-agent has: the pod's own socket has it."""
LOOK_SECONDS = 2.0
"""Seconds between two looks at the table while there are pods further below."""
LOOK_PAUSE = 0.05
"""Seconds between two looks, at least, however often somebody asks for one."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where a pod is. `name` and `socket` are its own; `folder` has one of each sub-agent, `env` is what they get.

    `most` is how many may live at a time, `work` the folder that relative targets are in.
    """

    name: str
    socket: Path
    folder: Path
    work: Path
    most: int
    env: Mapping[str, str]
    first_run: Callable[[Path, str], str | None]
    """Writes the task of a sub-agent into its folder. It returns why it could not."""


@dataclass(slots=True)
class _Child:
    record: SpawnedPod
    process: PodProcess
    tasks: list[asyncio.Task[None]]
    seen: Seen = field(default_factory=Seen)
    read: int = 0
    """Texts that were read already."""
    is_new: bool = True
    """This harness started it, or still waits until it has its scope."""


class _Reservation(NamedTuple):
    """What was reserved for a sub-agent that is to start."""

    record: SpawnedPod
    writes: bool
    folder: str
    """The folder that it works in: the first of its scope, one that it may write before others; "" without any."""


class Agents:
    """The sub-agents of one pod (implements harness.subagents.tools.SubAgents). For one event loop.

    `tell` takes a sentence for the model, `report` what a parent is told. `changed` is called after each change of what
    hive shows or the loop is to do.
    """

    def __init__(
        self,
        home: Home,
        leases: LeaseStore,
        registry: Registry,
        tell: Callable[[str], None],
        changed: Callable[[], None],
        report: Callable[[pod.PodEvent], None],
    ) -> None:
        self._home = home
        self._leases = leases
        self._registry = registry
        self._tell = tell
        self._changed = changed
        self._report = report
        self._children: dict[str, _Child] = {}
        self._further = FurtherPods(changed, self._ask_for_look)
        self._look_asked = asyncio.Event()
        self._looks: asyncio.Task[None] | None = None
        self._expected: Counter[str] = Counter()
        """Runs that this pod asked for and of which no end was reported yet."""
        self._table = Table()
        self._table_lock = asyncio.Lock()
        self._spawning = asyncio.Lock()
        self._works: set[asyncio.Future[str]] = set()
        self.due = False
        """A sub-agent waits for the right to write: `settle` gives it."""

    async def begin(self, owner: ProcessIdentity, scope: Scope | None) -> None:
        """Enter the pod at the top with its scope, or, with None, take what was reserved for it. Find its sub-agents.

        Raise HiveError if that cannot be.
        """
        name = self._home.name
        if scope is None:
            await self._change(self._leases.adopt, name, owner)
        else:
            await self._change(self._leases.register, name, owner, str(self._home.socket), scope)
        for record in self._registry.pods:
            if record.pod_name not in self._children and self._is_gone(record):
                self._drop_record(record.pod_name)
                self._tell(f"the pod {record.pod_name} ended while this harness was away")
        self._looks = asyncio.create_task(self._look_below())
        self.due = bool(leases_table.waiting(self._table, name))
        self._changed()

    async def close(self) -> None:
        """Leave the sub-agents alone: they live on."""
        await asyncio.gather(*self._works, return_exceptions=True)
        tasks = [task for child in self._children.values() for task in child.tasks]
        tasks += [] if self._looks is None else [self._looks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._further.close()  # now that nobody looks any more
        for child in self._children.values():
            child.process.close()

    # what the model asks for
    async def spawn(self, name: str, task: str, scope: Sequence[pod.ScopeRule]) -> str:
        """Start a sub-agent with a task. Raise HiveError. A caller that goes away does not leave half of one."""
        work = asyncio.ensure_future(self._spawn(name, task, scope))
        self._works.add(work)
        work.add_done_callback(self._works.discard)
        return await asyncio.shield(work)

    async def _spawn(self, name: str, task: str, scope: Sequence[pod.ScopeRule]) -> str:
        async with self._spawning:
            reserved = await self._reserve(name, task, scope)
            try:
                self._start(reserved, task)
            except HiveError:
                await self._forget(name)
                raise
        self._expected[name] += 1
        self._changed()
        when = (
            "it begins when this turn has ended, since it gets the right to write"
            if reserved.writes
            else "it begins now"
        )
        return f"the pod {name} starts: {when}. Its end is told to you; read_pod_output has what it says"

    async def send(self, name: str, input: str) -> str:
        """Begin another run of a sub-agent. Raise HiveError, also if it runs."""
        socket = self._socket(name)
        if len(input) > TASK_LIMIT:
            raise BadInput(f"the input has more than {TASK_LIMIT} characters", "write it to a file, and name that")
        self._expected[name] += 1  # before, because its end may be reported before the answer is here
        try:
            await ask(socket, pod.Run(params=pod.RunParams(input=input)))
        except BaseException:
            self._expected[name] = max(0, self._expected[name] - 1)
            raise
        return f"the pod {name} has begun; its end is told to you"

    async def read(self, name: str) -> str:
        """Return what a sub-agent said since the last read. Raise HiveError."""
        child = self._children.get(name)
        texts = texts_of(await ask(self._socket(name), pod.GetHistory()))
        before = 0 if child is None else min(child.read, len(texts))
        if child is not None:
            child.read = len(texts)
        new = "\n\n".join(texts[before:])
        return new[-OUTPUT_LIMIT:] or f"nothing new; the pod {name} is {self._state(name)}"

    async def stop(self, name: str) -> str:
        """End a sub-agent; what it had goes back. Harmless for one that has ended. Raise HiveError."""
        socket = self._socket(name)
        with suppress(HiveError):
            await ask(socket, pod.Shutdown())
        child = self._children.get(name)
        if child is not None:
            await child.process.end()
            await asyncio.wait(child.tasks[:1], timeout=READY_SECONDS)
            return f"the pod {name} has ended; its scope is yours again"
        return f"the pod {name} was asked to end"

    async def list(self) -> str:
        """Return one line for each sub-agent, and for those below them."""
        await self._look()
        return "\n".join(line_of(info, self._home.name) for info in self.infos()) or "there are no pods"

    # what the loop does
    async def settle(self) -> None:
        """Give the right to write to who waits for it. The caller has ended all that could still write here."""
        self.due = False  # before the look: who owns its part only after it makes this due again
        try:
            table = await self._change(self._leases.read)
            for child in leases_table.waiting(table, self._home.name):
                await self._change(self._leases.hold, child.pod)
                log.info("the pod %s has its scope", child.pod)
        except HiveError:
            self.due = True
            raise
        self._changed()

    @property
    def delegated(self) -> tuple[Rule, ...]:
        """Return what sub-agents may write, and this pod may not."""
        children = self._table.children(self._home.name)
        return tuple(rule for child in children if child.state is State.HELD for rule in child.scope.writes)

    @property
    def scope(self) -> Scope | None:
        """Return what this pod was given; None before `begin`."""
        own = self._table.find(self._home.name)
        return None if own is None else own.scope

    @property
    def held(self) -> bool:
        """Return True if this pod has the right to write that was reserved for it."""
        own = self._table.find(self._home.name)
        return own is not None and own.state is State.HELD

    async def refresh(self) -> None:
        """Read the table again."""
        await self._change(self._leases.read)

    # what sub-agents report
    def take_event(self, event: pod.PodEvent) -> str:
        """Take a report, in any order, twice or late. Return a line for the model, "" if there is nothing to say."""
        match event:
            case pod.TurnEnded(pod_name=name) if self._expected[name] > 0:
                self._expected[name] -= 1
                return f"the pod {name} has done its task; read_pod_output {name} has what it says"
            case pod.Errored(pod_name=name, message=message) if self._expected[name] > 0:
                self._expected[name] -= 1
                return f"the pod {name} failed: {one_line(message, 500)}"
            case pod.ScopeSubDelegated():
                self._ask_for_look()
                return ""
            case _:
                return ""

    def infos(self) -> tuple[PodInfo, ...]:
        """Return what hive shows of the sub-agents."""
        infos = []
        for name, child in self._children.items():
            writes = [rule.target for rule in child.record.scope_delegated if rule.permission is pod.Permission.WRITE]
            infos.append(info_of(name, self._home.name, self._state(name), child.seen, writes))
        for further in self._further.pods:
            each, writes = further.allocation, [rule.target for rule in further.allocation.scope.writes]
            infos.append(info_of(each.pod, each.parent or "", state_of(further.seen), further.seen, writes))
        return tuple(infos)

    async def _reserve(self, name: str, task: str, rules: Sequence[pod.ScopeRule]) -> _Reservation:
        """Check what is asked for, and take the scope for it."""
        check_name(name)
        if name in RESERVED or name == self._home.name:
            raise BadInput(f"no sub-agent may be called {name}", "choose another name")
        if len(self._children) >= self._home.most:
            raise Refused(
                f"{len(self._children)} pods live, and pods.max = {self._home.most} in agent.toml", "stop one first"
            )
        if not task.strip() or len(task) > TASK_LIMIT:
            raise BadInput(f"a task has 1 to {TASK_LIMIT} characters", "write more to a file, and name that")
        targets = await find_targets([rule.target for rule in rules], self._home.work)
        allow = [
            Rule(target.path, rule.permission, rule.recursive) for target, rule in zip(targets, rules, strict=True)
        ]
        socket = self._home.socket.with_name(f"{name}.sock")
        reserved = (await self._change(self._leases.reserve, name, self._home.name, str(socket), allow)).get(name)
        record = self._record(reserved)
        try:
            self._registry.add(record)
        except HiveError:
            await self._change(self._leases.release, name)
            raise
        folders = [rule for target, rule in zip(targets, allow, strict=True) if target.is_folder]
        folders.sort(key=lambda rule: rule.permission is not pod.Permission.WRITE)
        return _Reservation(record, bool(reserved.scope.writes), folders[0].target if folders else "")

    def _record(self, allocation: Allocation) -> SpawnedPod:
        """Return what `spawned_pods.json` has of a sub-agent, or of one further below."""
        above = self._home.socket if allocation.parent == self._home.name else None
        return SpawnedPod(
            pod_name=allocation.pod,
            socket_path=allocation.socket,
            scope_delegated=tuple(rule.wire() for rule in allocation.scope.allow),
            callback_address=str(above or self._home.socket.with_name(f"{allocation.parent}.sock")),
        )

    def _start(self, reserved: _Reservation, task: str) -> None:
        record, name = reserved.record, reserved.record.pod_name
        folder = self._home.folder / name
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise BadInput(f"the folder of the pod {name} cannot be made: {error.strerror}", "free space") from error
        if (why := self._home.first_run(folder, task)) is not None:
            raise BadInput(why, "free space")
        env = {
            **self._home.env,
            "HIVE_OWN": str(folder),
            "HIVE_POD_CWD": reserved.folder or str(self._home.work),
            "HIVE_POD_CALLBACK": str(self._home.socket),
        }
        self._follow(record, start_pod(name, env, folder / LOG), is_new=True)

    # the table
    async def _change(self, function: Callable[..., Table], *arguments: Any) -> Table:
        """Have the table read or changed, one call at a time, and take what it has then. Raise HiveError."""
        async with self._table_lock:
            self._table = table = await asyncio.to_thread(self._call, function, arguments)
        self._follow_table(table)
        return table

    def _call(self, function: Callable[..., Table], arguments: tuple[Any, ...]) -> Table:
        """Call the store. If its table was set aside because it was damaged, what is known is entered again before."""
        known, name = self._table, self._home.name
        try:
            table = function(*arguments)
        except NotFound:
            table = Table()
            if known.find(name) is None or self._leases.read().find(name) is not None:
                raise
        if table.find(name) is None and known.find(name) is not None:
            log.warning("the table of scopes has lost this pod: it and those below it are entered again")
            self._leases.change(lambda now: _merged(now, known))
            table = function(*arguments)
        return table

    def _follow_table(self, table: Table) -> None:
        """Follow who is below this pod now: those whose parent ended come under this one."""
        folder = self._home.socket.parent
        below = [each for each in leases_table.below(table, self._home.name) if Path(each.socket).parent == folder]
        for each in below:
            if each.parent == self._home.name and each.adopted and each.pod not in self._children:
                self._take_over(each)
        further = [each for each in below if each.parent != self._home.name]
        for each in self._further.follow(further):
            self._keep_record(each)
            self._report_below(each)
        for record in self._registry.pods:
            if record.callback_address != str(self._home.socket) and self._is_gone(record):
                self._drop_record(record.pod_name)

    def _take_over(self, allocation: Allocation) -> None:
        """Follow a sub-agent that this harness did not start: one of before a restart, or whose parent has ended."""
        try:
            process = find_pod(allocation.owner)
        except OSError as error:
            log.warning("nobody can say whether the pod %s lives: %s", allocation.pod, error)
            return
        if process is not None:
            self._keep_record(allocation)
            self._expected[allocation.pod] += 1  # what it does may have been asked for by this pod
            self._follow(self._record(allocation), process, is_new=allocation.state is State.RESERVED)

    def _is_gone(self, record: SpawnedPod) -> bool:
        return self._table.find(record.pod_name) is None

    def _keep_record(self, allocation: Allocation) -> None:
        try:
            self._registry.add(self._record(allocation))
        except HiveError as error:
            log.warning("the pod %s is not recorded: %s", allocation.pod, error.summary)

    def _drop_record(self, name: str) -> None:
        try:
            self._registry.remove(name)
        except HiveError as error:
            log.warning("the pod %s has ended, and is still recorded: %s", name, error.summary)

    def _ask_for_look(self) -> None:
        self._look_asked.set()

    async def _look(self) -> None:
        """Look at the table, without what belongs to the dead."""
        before = self.infos()
        try:
            await self._change(self._leases.living)
        except HiveError as error:
            log.warning("the pods below cannot be seen: %s", error.summary)
        if self.infos() != before:
            self._changed()

    async def _look_below(self) -> None:
        """Look when somebody asks, and from time to time while there are pods further below, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS if self._further.pods else None):
                    await self._look_asked.wait()
            self._look_asked.clear()
            await self._look()
            await asyncio.sleep(LOOK_PAUSE)

    def _report_below(self, allocation: Allocation) -> None:
        """Report to the pod above that somebody below this one got a part of its scope."""
        self._report(
            pod.ScopeSubDelegated(
                parent_pod=self._home.name,
                sub_pod=allocation.pod,
                sub_socket=allocation.socket,
                scope=tuple(rule.wire() for rule in allocation.scope.allow),
            )
        )

    # one sub-agent
    def _follow(self, record: SpawnedPod, process: PodProcess, *, is_new: bool) -> None:
        name = record.pod_name
        child = self._children[name] = _Child(record, process, [], is_new=is_new)

        def saw(seen: Seen) -> None:
            child.seen = seen
            self._changed()

        child.tasks.append(asyncio.create_task(self._await_end(name, child)))
        child.tasks.append(asyncio.create_task(watch(Path(record.socket_path), saw)))
        if is_new:
            child.tasks.append(asyncio.create_task(self._await_ready(name, child)))

    async def _await_ready(self, name: str, child: _Child) -> None:
        """Wait until a sub-agent serves its socket and owns what was reserved for it. One that never does is ended."""
        deadline = time.monotonic() + READY_SECONDS
        while not (child.seen.visible and await self._is_adopted(name)):
            if time.monotonic() > deadline:
                log.warning("the pod %s is not ready after %g s", name, READY_SECONDS)
                await child.process.end()
                return
            await asyncio.sleep(0.02)
        mine = self._table.get(name)
        if mine.scope.writes or not await self._hold(name):
            self.due = True
        self._report_below(mine)
        self._changed()

    async def _is_adopted(self, name: str) -> bool:
        """Look whether a sub-agent owns what was reserved for it. False, too, while the table cannot be read."""
        try:
            await self.refresh()
        except HiveError as error:
            log.warning("whether the pod %s has its scope cannot be seen: %s", name, error.summary)
            return False
        mine = self._table.find(name)
        return mine is not None and mine.adopted

    async def _hold(self, name: str) -> bool:
        """Give a sub-agent that may only read its scope at once. Return False if the table cannot be written now."""
        try:
            await self._change(self._leases.hold, name)
        except HiveError as error:
            log.warning("the pod %s does not get its scope yet: %s", name, error.summary)
            return False
        return True

    async def _await_end(self, name: str, child: _Child) -> None:
        await child.process.wait()
        child.process.close()
        visible = child.seen.visible or child.seen.turn > 0
        for task in child.tasks[1:]:
            task.cancel()
        self._children.pop(name, None)
        expected = self._expected.pop(name, 0)
        await self._forget(name)
        if not visible and child.is_new:
            words = one_line(last_words(self._home.folder / name / LOG)[-500:], 500)
            self._tell(f"the pod {name} did not start{f': {words}' if words else ''}")
        elif expected:
            self._tell(f"the pod {name} ended before its task was done; what it had is yours again")
        self._changed()

    async def _forget(self, name: str) -> None:
        """Take back what a sub-agent had. A disk that cannot be written now keeps it: the next change takes it back."""
        try:
            await self._change(self._leases.release, name)
            self._registry.remove(name)
        except HiveError as error:
            log.warning("the pod %s has ended, and its scope is still taken: %s", name, error.summary)

    def _socket(self, name: str) -> Path:
        return Path(self._registry.get(name).socket_path)

    def _state(self, name: str) -> str:
        child = self._children.get(name)
        if child is None:
            return next(
                (state_of(each.seen) for each in self._further.pods if each.allocation.pod == name), UNREACHABLE
            )
        mine = self._table.find(name)
        if child.seen.visible and mine is not None and mine.state is State.RESERVED and child.seen.turn == 0:
            return "waiting"
        return state_of(child.seen)


def _merged(now: Table, known: Table) -> Table:
    """Return a table with what was known of pods that it has lost. Those that it has stay as they are."""
    return Table((*now.allocations, *(each for each in known.allocations if now.find(each.pod) is None)))

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

from harness.subagents.leases import table as leases_table
from harness.subagents.leases.registry import Registry, SpawnedPod
from harness.subagents.leases.store import LeaseStore
from harness.subagents.leases.table import State, Table, check_name
from harness.subagents.peer import ask
from harness.subagents.process import PodProcess, find_pod, last_words, start_pod
from harness.subagents.watch import Seen, watch
from meta.errors import BadInput, HiveError, NotFound, Refused
from meta.process.identity import ProcessIdentity
from meta.scope.paths import canonical
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
_SHOWN = 60


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
        self._known: dict[str, Seen] = {}
        """Grandchildren and what is seen of them."""
        self._expected: Counter[str] = Counter()
        """Runs that this pod asked for and of which no end was reported yet."""
        self._table = Table()
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
            self._table = await asyncio.to_thread(self._leases.adopt, name, owner)
        else:
            self._table = await asyncio.to_thread(self._leases.register, name, owner, str(self._home.socket), scope)
        for record in self._registry.pods:
            self._find(record)
        self.due = bool(leases_table.waiting(self._table, name))
        self._changed()

    async def close(self) -> None:
        """Leave the sub-agents alone: they live on."""
        await asyncio.gather(*self._works, return_exceptions=True)
        tasks = [task for child in self._children.values() for task in child.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
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
            record, writes = await self._reserve(name, task, scope)
            try:
                self._start(record, task)
            except HiveError:
                await self._forget(name)
                raise
        self._expected[name] += 1
        self._changed()
        when = "it begins when this turn has ended, since it gets the right to write" if writes else "it begins now"
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
        answer = await ask(self._socket(name), pod.GetHistory())
        data = answer.get("data")
        items = data.get("items") if isinstance(data, dict) else None
        texts = [text for item in items if (text := _said(item))] if isinstance(items, list) else []
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
        """Return one line for each sub-agent."""
        return "\n".join(map(self._line, self.infos())) or "there are no pods"

    def _line(self, info: PodInfo) -> str:
        parts = [f"{info.name}: {info.state}", f"turn {info.turn}", info.scope]
        if info.result:
            parts.append(f"its latest run: {info.result}")
        if info.parent != self._home.name:
            parts.append(f"below {info.parent}")
        return ", ".join(parts)

    # what the loop does
    async def settle(self) -> None:
        """Give the right to write to who waits for it. The caller has ended all that could still write here."""
        self.due = False  # before the look: who owns its part only after it makes this due again
        try:
            self._table = await asyncio.to_thread(self._leases.read)
            for child in leases_table.waiting(self._table, self._home.name):
                self._table = await asyncio.to_thread(self._leases.hold, child.pod)
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
        self._table = await asyncio.to_thread(self._leases.read)

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
            case pod.ScopeSubDelegated(parent_pod=above, sub_pod=name) if above in self._children:
                self._take_grandchild(event)
                return ""
            case _:
                return ""

    def infos(self) -> tuple[PodInfo, ...]:
        """Return what hive shows of the sub-agents."""
        infos = []
        for name, child in self._children.items():
            infos.append(_info(name, self._home.name, self._state(name), child.seen, child.record))
        for record in self._registry.pods:
            if record.pod_name not in self._children:
                seen = self._known.get(record.pod_name, Seen(state="unreachable"))
                above = Path(record.callback_address).stem
                infos.append(_info(record.pod_name, above, seen.state, seen, record))
        return tuple(infos)

    async def _reserve(self, name: str, task: str, rules: Sequence[pod.ScopeRule]) -> tuple[SpawnedPod, bool]:
        """Check what is asked for, and take the scope for it. Return the record, and whether it may write."""
        check_name(name)
        if name in RESERVED or name == self._home.name:
            raise BadInput(f"no sub-agent may be called {name}", "choose another name")
        if len(self._children) >= self._home.most:
            raise Refused(
                f"{len(self._children)} pods live, and pods.max = {self._home.most} in agent.toml", "stop one first"
            )
        if not task.strip() or len(task) > TASK_LIMIT:
            raise BadInput(f"a task has 1 to {TASK_LIMIT} characters", "write more to a file, and name that")
        allow = [Rule(canonical(rule.target, str(self._home.work)), rule.permission, rule.recursive) for rule in rules]
        socket = self._home.socket.with_name(f"{name}.sock")
        self._table = await asyncio.to_thread(self._reserve_lease, name, str(socket), allow)
        taken = self._table.get(name).scope
        record = SpawnedPod(
            pod_name=name,
            socket_path=str(socket),
            scope_delegated=tuple(rule.wire() for rule in taken.allow),
            callback_address=str(self._home.socket),
        )
        try:
            self._registry.add(record)
        except HiveError:
            await asyncio.to_thread(self._leases.release, name)
            raise
        return record, bool(taken.writes)

    def _reserve_lease(self, name: str, socket: str, allow: Sequence[Rule]) -> Table:
        """Reserve a scope. If the table was set aside because it was damaged, what is known is entered again before."""
        try:
            return self._leases.reserve(name, self._home.name, socket, allow)
        except NotFound:
            known = self._table
            if known.find(self._home.name) is None:
                raise
            log.warning("the table of scopes has lost this pod: it and those below it are entered again")
            self._leases.change(lambda now: _merged(now, known))
            return self._leases.reserve(name, self._home.name, socket, allow)

    def _start(self, record: SpawnedPod, task: str) -> None:
        name = record.pod_name
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
            "HIVE_POD_CWD": _folder_of(record) or str(self._home.work),
            "HIVE_POD_CALLBACK": str(self._home.socket),
        }
        self._follow(record, start_pod(name, env, folder / LOG), ready=True)

    def _find(self, record: SpawnedPod) -> None:
        """Take up a sub-agent of before a restart: if its process lives, it goes on."""
        mine = self._table.find(record.pod_name)
        try:
            process = None if mine is None or not mine.adopted else find_pod(mine.owner)
        except OSError as error:
            log.warning("nobody can say whether the pod %s lives: %s", record.pod_name, error)
            return
        if process is None:
            with suppress(HiveError):
                self._registry.remove(record.pod_name)
            self._tell(f"the pod {record.pod_name} ended while this harness was away")
        elif mine is not None and mine.parent == self._home.name:
            self._follow(record, process, ready=False)
            self._expected[record.pod_name] += 1

    def _follow(self, record: SpawnedPod, process: PodProcess, *, ready: bool) -> None:
        name = record.pod_name
        child = self._children[name] = _Child(record, process, [])

        def saw(seen: Seen) -> None:
            child.seen = seen
            self._changed()

        child.tasks.append(asyncio.create_task(self._await_end(name, child)))
        child.tasks.append(asyncio.create_task(watch(Path(record.socket_path), saw)))
        if ready:
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
        if self._table.get(name).scope.writes or not await self._hold(name):
            self.due = True
        self._report(
            pod.ScopeSubDelegated(
                parent_pod=self._home.name,
                sub_pod=name,
                sub_socket=child.record.socket_path,
                scope=child.record.scope_delegated,
            )
        )
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
            self._table = await asyncio.to_thread(self._leases.hold, name)
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
        if not visible:
            words = one_line(last_words(self._home.folder / name / LOG)[-500:], 500)
            self._tell(f"the pod {name} did not start{f': {words}' if words else ''}")
        elif expected:
            self._tell(f"the pod {name} ended before its task was done; what it had is yours again")
        self._changed()

    async def _forget(self, name: str) -> None:
        """Take back what a sub-agent had. A disk that cannot be written now keeps it: the next change takes it back."""
        try:
            self._table = await asyncio.to_thread(self._leases.release, name)
            self._registry.remove(name)
        except HiveError as error:
            log.warning("the pod %s has ended, and its scope is still taken: %s", name, error.summary)

    def _take_grandchild(self, event: pod.ScopeSubDelegated) -> None:
        record = SpawnedPod(
            pod_name=event.sub_pod,
            socket_path=event.sub_socket,
            scope_delegated=event.scope,
            callback_address=str(self._home.socket.with_name(f"{event.parent_pod}.sock")),
        )
        try:
            check_name(event.sub_pod)
            if Path(event.sub_socket).parent != self._home.socket.parent:
                raise BadInput("its socket is elsewhere")
            self._registry.add(record)
        except HiveError as error:
            log.warning("a report of the pod %s is dropped: %s", event.parent_pod, error.summary)
            return
        self._report(event.model_copy(update={"parent_pod": self._home.name}))
        self._changed()

    def _socket(self, name: str) -> Path:
        return Path(self._registry.get(name).socket_path)

    def _state(self, name: str) -> str:
        child = self._children.get(name)
        if child is None:
            return "unreachable"
        mine = self._table.find(name)
        if child.seen.visible and mine is not None and mine.state is State.RESERVED and child.seen.turn == 0:
            return "waiting"
        return child.seen.state if child.seen.visible or child.seen.state == "starting" else "unreachable"


def _merged(now: Table, known: Table) -> Table:
    """Return a table with what was known of pods that it has lost. Those that it has stay as they are."""
    return Table((*now.allocations, *(each for each in known.allocations if now.find(each.pod) is None)))


def _folder_of(record: SpawnedPod) -> str:
    """Return the first folder of its scope, one that it may write before others; "" if it has none."""
    rules = sorted(record.scope_delegated, key=lambda rule: rule.permission is not pod.Permission.WRITE)
    return next((rule.target for rule in rules if Path(rule.target).is_dir()), "")


def _said(item: object) -> str:
    """Return the text of an item of a history that its model said."""
    if not isinstance(item, dict) or item.get("type") != "message" or item.get("role") != "assistant":
        return ""
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))


def _info(name: str, parent: str, state: str, seen: Seen, record: SpawnedPod) -> PodInfo:
    writes = [rule.target for rule in record.scope_delegated if rule.permission is pod.Permission.WRITE]
    scope = f"writes {', '.join(writes)}" if writes else "reads only"
    return PodInfo(
        name=name,
        parent=parent,
        state=state,
        scope=one_line(scope, 500),
        turn=seen.turn,
        result=seen.result,
        ended=seen.ended,
    )

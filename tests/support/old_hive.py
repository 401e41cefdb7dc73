"""A hive that is a year old, made in seconds: the state directory as a daemon of backend `fake` leaves it.

Objects, refs and rows are written directly, with hive's own functions for their content. `cached` makes one per size
and content of the sources, keeps it in `build/old-hive`, and copies it.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from meta.applied import tags
from meta.applied.repo import Applied
from meta.applied.source import Source, SourceKind
from meta.applied.states import tag_name, tag_ref
from meta.applied.tags import ReadTag
from meta.config import Config
from meta.desired import trailers
from meta.desired.agents_json import AGENTS_FILE, encode_agents
from meta.desired.changes import note, tree_with
from meta.desired.flake import FLAKE_FILE, render
from meta.desired.reader import MAIN
from meta.desired.repo import MetaRepo
from meta.git import packs
from meta.git.message import encode
from meta.git.objects import FILE, GitObject, TreeEntry, blob, commit, snapshot, tag, tree
from meta.layout import Layout
from meta.model import AgentEntry, ContainerSettings, DeployKind, Desired, Pin, Role, TagState, Tombstone
from meta.names import MANAGER, OPERATOR, AgentName, ProposalId, Sha
from meta.proposed import push_repo
from reconciler.daemon.parts import judge
from reconciler.store.cards import Cards
from reconciler.store.database import Database
from reconciler.store.events import chain, keys
from reconciler.store.messages.rows import DONE_KEPT

YEAR_SECONDS = 365 * 24 * 3600
BY = "operator uid 1000"
BUSY = AgentName("alice")
"""The agent that has half of all ids, and the branches."""
_LOG = "\n".join(f"line {n} of a build that failed, as a builder writes it" for n in range(60))
_CACHE = Path("build/old-hive")


@dataclass(frozen=True, slots=True)
class Age:
    """What a hive has gathered. `gone` agents are destroyed and `purged` ones forgotten.

    `loose`: its objects and refs are files, as hive writes them, and not yet packed.
    """

    agents: int = 20
    ids: int = 3_000
    gone: int = 60
    purged: int = 200
    messages: int = 100_000
    branches: int = 2_000
    refused: int = 1_000
    events: int = 200_000
    questions: int = 10_000
    loose: bool = False

    def part(self, share: int) -> Age:
        """Return a hive with one of `share` parts of everything, but at least four agents."""
        ids, gone, purged, messages = (n // share for n in (self.ids, self.gone, self.purged, self.messages))
        branches, refused, events, questions = (
            n // share for n in (self.branches, self.refused, self.events, self.questions)
        )
        agents = max(4, self.agents // share)
        return Age(agents, ids, gone, purged, messages, branches, refused, events, questions, loose=True)


YEAR = Age()
TENTH = YEAR.part(10)
YOUNG = Age(ids=0, gone=0, purged=0, messages=200, branches=0, refused=0, events=100, questions=10)


@dataclass(slots=True)
class _Agent:
    """One agent while its history is made."""

    name: AgentName
    seed: Sha
    main: Sha
    uid: int
    pin: ProposalId
    objects: list[GitObject] = field(default_factory=list)
    loose: list[GitObject] = field(default_factory=list)
    refs: dict[str, Sha] = field(default_factory=dict)
    read: dict[ProposalId, dict[TagState, ReadTag]] = field(default_factory=dict)


def cached(age: Age, target: Path) -> Layout:
    """Copy a hive of that age to `target`, a new directory. Make it first if there is none of today."""
    source = Path(__file__).read_bytes() + repr(age).encode() + time.strftime("%Y%m%d").encode()
    place = _CACHE / hashlib.sha256(source).hexdigest()[:16]
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            for old in _CACHE.glob("*/"):
                if old.stat().st_mtime < time.time() - 24 * 3600:
                    shutil.rmtree(old, ignore_errors=True)
            scratch = _CACHE / f"{place.name}.{os.getpid()}"
            asyncio.run(make(scratch, age))
            scratch.rename(place)
    subprocess.run(["cp", "-a", "--reflink=auto", f"{place}/s", str(target / "s")], check=True)
    return Layout(target / "s", target / "r")


async def make(directory: Path, age: Age) -> Layout:
    """Make a hive of that age in a new directory."""
    layout = Layout(directory.absolute() / "s", directory.absolute() / "r")
    layout.state.mkdir(mode=0o711, parents=True)
    layout.scratch.mkdir()
    layout.owner.write_text("0" * 32, encoding="ascii")
    now = int(time.time())
    history = _History(layout, age, now)
    await history.make()
    await _database(layout, age, now, history)
    return layout


class _History:
    """The git side: meta, the applied repos, the push repo of BUSY."""

    def __init__(self, layout: Layout, age: Age, now: int) -> None:
        self.layout = layout
        self.age = age
        self.now = now
        self.begun = now - YEAR_SECONDS
        self.agents: dict[AgentName, _Agent] = {}
        self.graves: dict[AgentName, Tombstone] = {}
        self.branches: dict[str, Sha] = {}
        self.refused: list[tuple[str, Sha]] = []
        self._meta: list[GitObject] = []
        self._head = Sha("")
        self._tree = Sha("")
        self._numbers = 0

    async def make(self) -> None:
        """Make all repos."""
        names = [MANAGER, BUSY, *(AgentName(f"a{n}") for n in range(self.age.agents - 2))]
        gone = [AgentName(f"g{n}") for n in range(self.age.gone)]
        meta = MetaRepo(self.layout)
        await meta.create(self.begun)
        self._head = (await meta.read()).desired.head
        for number, name in enumerate([*names, *gone]):
            await self._spawn(name, number)
        for number in range(self.age.purged):
            self._note("destroy", AgentName(f"p{number}"), self.begun)
            self._note(trailers.FORGET, AgentName(f"p{number}"), self.begun)
        self._deploys(names, gone)
        for name in gone:
            agent = self.agents[name]
            self.graves[name] = Tombstone(agent.uid, Pin(agent.pin, agent.main))
            self._note("destroy", name, self.now - 90 * 24 * 3600)
        self._commit("edit", self.now - 3600, whole=True)
        self._write(meta)
        self._push()

    async def _spawn(self, name: AgentName, number: int) -> None:
        applied = Applied(self.layout, name)
        seed = await applied.create({"agent.toml": b"", "agent.nix": b"{ }"}, self.begun)
        uid = Config().uid_start + 65_536 * number
        agent = self.agents[name] = _Agent(name, seed, seed, uid, ProposalId(0))
        agent.refs[MAIN] = seed
        role = DeployKind.SPAWN
        self._end(agent, ProposalId(0), seed, None, role, TagState.DEPLOYED, self.begun + number)

    def _deploys(self, names: Sequence[AgentName], gone: Sequence[AgentName]) -> None:
        others = [name for name in (*names, *gone) if name not in (MANAGER, BUSY)]
        span = YEAR_SECONDS // (self.age.ids + 1)
        for number in range(1, self.age.ids + 1):
            name = BUSY if number % 2 else others[number // 2 % len(others)]
            agent, at = self.agents[name], self.begun + number * span
            end = (TagState.DENIED, TagState.FAILED, TagState.DEPLOYED, TagState.DEPLOYED)[number // 2 % 4]
            sha = self._change(agent, number, at, keep=end is not TagState.DENIED)
            self._end(agent, ProposalId(number), sha, agent.main, DeployKind.APPLY_COMMIT, end, at)

    def _change(self, agent: _Agent, number: int, at: int, *, keep: bool) -> Sha:
        """Return a commit on the agent's newest one. hive removes the objects of a denied one."""
        root, objects = snapshot({"agent.toml": f'label = "{number}"\n'.encode(), "agent.nix": b"{ }"})
        change = commit(root, (agent.main,), f"change {number}", at)
        if keep:
            agent.objects += [*objects, change]
        return change.id

    def _end(
        self,
        agent: _Agent,
        id: ProposalId,
        sha: Sha,
        base: Sha | None,
        kind: DeployKind,
        end: TagState,
        at: int,
    ) -> None:
        source = Source.of(SourceKind.SPAWN) if kind is DeployKind.SPAWN else Source.of(SourceKind.PUSH, f"b{id}")
        facts = {
            tags.KIND: str(kind),
            tags.BASE: base or "",
            tags.COMMIT_REF: sha if base else "",
            tags.SOURCE: str(source),
            tags.BY: BY,
        }
        proposal = self._tag(agent, TagState.PROPOSAL, id, sha, at, "make it better", facts)
        if end is TagState.DENIED:
            text, also = tags.replacing(proposal, "not now")
            del agent.read[id][TagState.PROPOSAL], agent.refs[tag_ref(TagState.PROPOSAL, id)]
            agent.loose.pop()
            self._tag(agent, end, id, base or sha, at + 1, text, {tags.BY: BY, **also})
            return
        self._tag(agent, TagState.APPROVED, id, sha, at + 1, "", {tags.BY: BY, tags.SEEN: sha})
        self._tag(agent, TagState.BUILDING, id, sha, at + 2, "", {tags.BY: "hive"})
        if end is TagState.FAILED:
            self._tag(agent, end, id, sha, at + 3, _LOG, {tags.BY: "hive"})
            return
        agent.main, agent.pin, agent.refs[MAIN] = sha, id, sha
        head = self._deployed(agent, id, kind, at + 3)
        facts = {tags.BY: "hive", tags.META: head, tags.UNPROVEN: "no"}
        self._tag(agent, TagState.DEPLOYED, id, sha, at + 3, "", facts)

    def _tag(
        self, agent: _Agent, state: TagState, id: ProposalId, sha: Sha, at: int, text: str, facts: Mapping[str, str]
    ) -> ReadTag:
        values = {tags.ID: str(id), tags.AGENT: agent.name, **{key: value for key, value in facts.items() if value}}
        made = tag(tag_name(state, id), sha, encode(f"{state} {id}", text, values), at)
        agent.loose.append(made)
        name = made.id
        agent.refs[tag_ref(state, id)] = name
        read = tags.read_tag(state, id, name, {name: made})
        assert read is not None
        agent.read.setdefault(id, {})[state] = read
        return read

    # meta
    def _deployed(self, agent: _Agent, id: ProposalId, kind: DeployKind, at: int) -> Sha:
        action = "spawn" if kind is DeployKind.SPAWN else "deploy"
        values = {
            trailers.ACTION: action,
            trailers.ID: str(id),
            trailers.AGENT: agent.name,
            trailers.SHA: agent.main,
            trailers.GENERATION: "0" * 20,
            trailers.BY: BY,
        }
        return self._commit(encode(f"{action} {agent.name} {id} ({agent.main[:12]})", trailers=values), at)

    def _note(self, action: str, agent: AgentName, at: int) -> None:
        self._commit(note(action, agent, BY), at)

    def _commit(self, message: str, at: int, *, whole: bool = False) -> Sha:
        """Commit to meta `main`. The files follow at each tenth commit, which is most of the cost."""
        if whole or self._numbers % 10 == 0:
            live = {agent.name: self._entry(agent) for agent in self.agents.values() if agent.name not in self.graves}
            desired = Desired(self._head, live, self.graves)
            files = {
                AGENTS_FILE: encode_agents(live, self.graves),
                FLAKE_FILE: render(desired, self.layout.applied_git),
            }
            self._tree, objects = tree_with([], files)
            self._meta += objects
        self._numbers += 1
        made = commit(self._tree, (self._head,), message, at)
        self._meta.append(made)
        self._head = made.id
        return self._head

    def _entry(self, agent: _Agent) -> AgentEntry:
        role = Role.MANAGER if agent.name == MANAGER else Role.AGENT
        return AgentEntry(Pin(agent.pin, agent.main), ContainerSettings(role, agent.uid))

    # writing
    def _write(self, meta: MetaRepo) -> None:
        counter = blob(f"{self.age.ids}\n".encode())
        self._store(self.layout.meta_git, [*self._meta, counter])
        _write_refs(self.layout.meta_git, {MAIN: self._head, "refs/hive/counter": counter.id})
        for agent in self.agents.values():
            git_dir = self.layout.applied_git(agent.name)
            _write_pack(git_dir, agent.objects)
            self._store(git_dir, agent.loose)
            _write_refs(git_dir, {MAIN: agent.refs.pop(MAIN)})
            (_write_refs if self.age.loose else _pack_refs)(git_dir, agent.refs)

    def _store(self, git_dir: Path, objects: Sequence[GitObject]) -> None:
        (_write_loose if self.age.loose else _write_pack)(git_dir, objects)

    def _push(self) -> None:
        """Make the branches of BUSY: those that were decided, and those that were refused, as roots without a base."""
        if not self.age.branches:
            return
        push_repo.create(self.layout, BUSY, Config())
        agent = self.agents[BUSY]
        decided = self.age.branches - self.age.refused
        ids = [id for id, states in agent.read.items() if id and TagState.DENIED not in states][-decided:]
        self.branches = {f"b{id}": agent.read[id][TagState.PROPOSAL].sha for id in ids}
        empty = tree([TreeEntry(FILE, b"agent.toml", blob(b"").id)])
        refused = [commit(empty.id, (), f"unrelated {n}", self.now) for n in range(self.age.refused)]
        refs = {f"refs/heads/{name}": sha for name, sha in self.branches.items()}
        refs |= {f"refs/heads/no/{n}": one.id for n, one in enumerate(refused)}
        repo = self.layout.push_repo(BUSY)
        _write_pack(repo, [*agent.objects, blob(b""), empty, *refused])
        (_write_refs if self.age.loose else _pack_refs)(repo, refs)
        self.refused = [(f"proposed/push.git#no/{n}", one.id) for n, one in enumerate(refused)]


def _write_loose(git_dir: Path, objects: Iterable[GitObject]) -> None:
    for item in objects:
        name = item.id
        path = f"{git_dir}/objects/{name[:2]}/{name[2:]}"
        if not os.path.exists(path):  # noqa: PTH110 - thousands
            os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
            with open(path, "wb") as file:  # noqa: PTH123
                file.write(zlib.compress(item.raw(), 1))


def _write_refs(git_dir: Path, refs: Mapping[str, Sha]) -> None:
    for folder in {name.rpartition("/")[0] for name in refs}:
        (git_dir / folder).mkdir(parents=True, exist_ok=True)
    for name, sha in refs.items():
        with open(f"{git_dir}/{name}", "w", encoding="ascii") as file:  # noqa: PTH123 - thousands
            file.write(f"{sha}\n")


def _pack_refs(git_dir: Path, refs: Mapping[str, Sha]) -> None:
    lines = [f"{refs[name]} {name}\n" for name in sorted(refs)]
    (git_dir / "packed-refs").write_text("".join(["# pack-refs with: sorted \n", *lines]), encoding="ascii")


def _write_pack(git_dir: Path, objects: Sequence[GitObject]) -> None:
    unique = list({item.id: item for item in objects}.values())
    if unique:
        (git_dir / "objects/pack").mkdir(parents=True, exist_ok=True)
        argv = ["git", "index-pack", "--stdin"]
        data = packs.encode(unique)
        subprocess.run(argv, cwd=git_dir, input=data, check=True, stdout=subprocess.DEVNULL)


# the database
async def _database(layout: Layout, age: Age, now: int, history: _History) -> None:
    async with await Database.open(layout.database) as database:
        await database.write(lambda c: c.executemany("INSERT INTO messages " + _MESSAGE, _messages(history, age, now)))
        await database.write(lambda c: _others(c, age, now, history))
        await database.write(lambda c: _events(c, database.uuid, age, now, history))
        order = sorted(history.agents.values(), key=lambda agent: agent.name == MANAGER)
        for agent in order:  # the manager last, so that its inbox is not all notices
            await _project(Cards(database, clock=lambda: float(now)), agent, layout)


async def _project(cards: Cards, agent: _Agent, layout: Layout) -> None:
    """Write the cards of one agent and their events, state by state."""
    ways = (TagState.PROPOSAL,), (TagState.PROPOSAL, TagState.APPROVED), tuple(TagState)
    for way in ways:
        deploys = []
        for id, states in sorted(agent.read.items()):
            shown = {state: read for state, read in states.items() if state in way}
            if shown or (last := states.get(TagState.DENIED)) is None:
                deploys.append(tags.deploy(agent.name, id, shown))
            elif last.proposal is not None:
                deploys.append(tags.deploy(agent.name, id, {TagState.PROPOSAL: last.proposal}))
        stamp = Applied(layout, agent.name).stamp() if way == ways[-1] else ""
        await cards.project(agent.name, deploys, stamp or "")


_MESSAGE = (
    f"(sender, recipient, body, at, delivered_at, acked_at, dead_at, attempts, origin) VALUES ({', '.join('?' * 9)})"
)


def _messages(history: _History, age: Age, now: int) -> Iterator[tuple[object, ...]]:
    """Yield rows of messages: of each inbox as many done ones as hive keeps, some dead, and the rest waiting."""
    inboxes = [OPERATOR, *history.agents]
    for number in range(age.messages):
        to, place = inboxes[number % len(inboxes)], number // len(inboxes)
        sender = str(BUSY) if to != BUSY else "a0"
        at = now - 20 * 24 * 3600 + number
        body = f"message {number} " + "x" * 60
        if place % 100 == 99:
            yield sender, to, body, at, None, None, at, 3, "peer"
        elif place < DONE_KEPT - 50:
            yield sender, to, body, at, at, at, None, 1, "peer"
        else:
            yield sender, to, body, at, None, None, None, 0, "peer"


def _others(connection: sqlite3.Connection, age: Age, now: int, history: _History) -> None:
    names = list(history.agents)
    asked = [
        (
            names[n % len(names)],
            OPERATOR,
            "which?",
            "[]",
            0,
            now - 9_999_99 + n,
            now - 999_999 + n,
            "this",
            OPERATOR,
            12,
        )
        for n in range(age.questions)
    ]
    columns = "asker, target, question, options, multi, asked_at, answered_at, answer, answerer, size"
    connection.executemany(f"INSERT INTO questions ({columns}) VALUES ({', '.join('?' * 10)})", asked)
    used = [(str(BUSY), "a0", f"key {n}", n + 1, now - n) for n in range(age.messages // 10)]
    connection.executemany("INSERT INTO message_keys VALUES (?, ?, ?, ?, ?)", used)
    connection.executemany(
        "INSERT INTO deaths (agent, id, step, count) VALUES (?, ?, 'build', 1)",
        [(BUSY, id) for id in history.agents[BUSY].read],
    )
    seen = [(BUSY, f"proposed/push.git#{name}", sha, now - n) for n, (name, sha) in enumerate(history.branches.items())]
    connection.executemany("INSERT INTO tips VALUES (?, ?, ?, ?)", seen)
    why = "it does not descend from applied/main"
    refused = [(BUSY, source, sha, why, judge(Config())) for source, sha in history.refused]
    connection.executemany("INSERT INTO refused_tips VALUES (?, ?, ?, ?, ?)", refused)


def _events(connection: sqlite3.Connection, uuid: str, age: Age, now: int, history: _History) -> None:
    """Append events of runs, and one of each refused tip, in a valid chain."""
    names = list(history.agents)
    before = chain.genesis(uuid)
    connection.execute("INSERT INTO event_anchor (one, n, hash) VALUES (1, 0, ?)", (before,))
    rows = []
    refused = history.refused
    for n in range(1, age.events + 1):
        at = float(now - YEAR_SECONDS + n * YEAR_SECONDS // (age.events + 1))
        key: keys.Key | None = None
        if n <= len(refused):
            source, sha = refused[n - 1]
            key = keys.refused_tip(BUSY, source, sha)
            data = {"source": source, "branch": source.partition("#")[2], "sha": sha, "by": "push", "reason": "no"}
            kind, agent = "tip_refused", str(BUSY)
        else:
            agent, kind = names[n % len(names)], ("agent_started", "agent_healthy", "agent_stopped")[n % 3]
            data, key = {"generation": "0" * 20}, keys.Key(f"old:{agent}:{n}") if n % 3 else None
        text = json.dumps(data)
        before = chain.link(before, n, at, kind, agent, text)
        rows.append((n, at, kind, agent, text, key, before))
    connection.executemany(
        "INSERT INTO events (n, at, kind, agent, data, key, hash) VALUES (?, ?, ?, ?, ?, ?, ?)", rows
    )

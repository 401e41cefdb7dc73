"""docs/reference/persistence.md, cell by cell: the page is read, and each of its words is checked against a real hive.

A column is something that happens to an agent, a row something of it that survives or not. Every agent is made the
same; each has been deployed and started, has crashed once and got a message before its column happens to it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from meta.names import AgentName
from tests.support.lab import Lab, alive

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "persistence.md"
COLUMNS = {
    "`hive stop`": "halted",
    "`hive rebuild`": "rebuilt",
    "`hive destroy`": "destroyed",
    "`destroy --purge`": "purged",
    "daemon stop or kill": "kept",
    "reboot": "kept",
    "database lost": "kept",
}
TALK = {"hyperhive-session.json": "{}", "hyperhive-model": "opus\n", "notes.md": "mine"}
LOGIN = ".claude-login"
EVENTS = "hyperhive-events.sqlite"
AGENTS = tuple(sorted(set(COLUMNS.values())))
"""Column -> the agent that it happens to, in this order."""


@dataclass(frozen=True)
class Facts:
    """What there is of one agent; None or empty: nothing."""

    pid: int | None
    files: tuple[str | None, str | None]
    talk: tuple[str | None, ...]
    login: str | None
    event_log: str | None
    copied_rows: set[Any]
    turns: list[Any]
    tags: str | None
    work_tree: str | None
    push_repo: str | None
    pin: dict[str, Any] | None
    tombstone: dict[str, Any] | None
    run: dict[str, Any] | None
    log: list[str]
    generations: set[str]
    cards: dict[int, Any]
    messages: list[str]
    events: set[str]
    crashes: int
    output: str | None
    reserve: int
    older: str | None


def facts(lab: Lab, agent: str) -> Facts:
    layout, name = lab.layout, AgentName(agent)
    meta = json.loads(lab.git(layout.meta_git, "show", "main:agents.json"))
    cards = lab.get("/api/proposals", all=True, agent=agent)
    generations = layout.generations(name)
    return Facts(
        pid=lab.agents().get(agent, {}).get("pid"),
        talk=tuple(read(layout.agent_state(name) / file) for file in TALK),
        login=read(layout.agent_home(name) / LOGIN),
        event_log=read(layout.agent_state(name) / EVENTS),
        copied_rows=stored(layout.live, "SELECT log, id FROM events WHERE agent = ?", agent),
        turns=sorted(stored(layout.database, "SELECT day, model, turns FROM turn_days WHERE agent = ?", agent)),
        files=(read(layout.agent_state(name) / "notes"), read(layout.agent_home(name) / "login")),
        tags=lab.git(layout.applied_git(name), "for-each-ref") if layout.applied_git(name).exists() else None,
        work_tree=read(layout.proposed_config(name) / "draft"),
        push_repo=read(layout.push_repo(name) / "config"),
        pin=meta["agents"].get(agent),
        tombstone=meta["tombstones"].get(agent),
        run=json.loads(lab.git(layout.meta_git, "show", "run:run.json"))["agents"].get(agent),
        log=lab.git(layout.meta_git, "rev-list", "main").split(),
        generations={path.name for path in generations.iterdir()} if generations.exists() else set(),
        cards={card["id"]: card for card in cards},
        messages=lab.inbox(agent),
        events={event["seq"] for event in lab.get("/api/events", follow=0, limit=1000) if event["agent"] == agent},
        crashes=crashes(lab, agent),
        output=read(layout.backend("local") / agent / "log"),
        reserve=sum(path.stat().st_size for path in (layout.state / "reserve").iterdir()),
        older=read(layout.applied(name) / "older" / "flake.nix"),
    )


def read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def stored(path: Path, query: str, *values: str) -> set[Any]:
    """The rows of a database; none if it is missing."""
    if not path.exists():
        return set()
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return set(database.execute(query, values))


def crashes(lab: Lab, agent: str) -> int:
    """The counter that is kept, also of an agent that is no more."""
    with contextlib.closing(sqlite3.connect(f"file:{lab.layout.database}?mode=ro", uri=True)) as database:
        found = database.execute("SELECT memo FROM memos WHERE agent = ?", (agent,)).fetchone()
    return int(json.loads(found[0])["crashes"]) if found else 0


# what a word means, row by row
Check = Callable[[Facts, Facts], bool]
ROWS: dict[str, dict[str, Check]] = {
    "running agent": {
        "stays": lambda old, new: new.pid == old.pid and old.pid is not None and alive(old.pid),
        "ends": lambda old, new: new.pid is None and old.pid is not None and not alive(old.pid),
        "restarts": lambda old, new: new.pid is not None and new.pid != old.pid and alive(new.pid),
        "starts again": lambda old, new: new.pid is not None and new.pid != old.pid and alive(new.pid),
    },
    "/state and home": {
        "stays": lambda old, new: new.files == old.files == ("remember", "secret"),
        "gone": lambda old, new: new.files == (None, None),
    },
    "applied repo, tags": {
        "stays": lambda old, new: old.tags is not None and new.tags == old.tags,
        "gone": lambda old, new: new.tags is None,
    },
    "conversation, model override, notes": {
        "stays": lambda old, new: new.talk == old.talk == tuple(TALK.values()),
        "gone": lambda old, new: set(new.talk) == {None},
    },
    "[login](../howto/login.md) of its coding agent": {
        "stays": lambda old, new: new.login == old.login == "token",
        "gone": lambda old, new: new.login is None,
    },
    "proposed work tree": {
        "stays": lambda old, new: new.work_tree == old.work_tree == "unfinished",
        "gone": lambda old, new: new.work_tree is None,
    },
    "push repo": {
        "stays": lambda old, new: old.push_repo is not None and new.push_repo == old.push_repo,
        "gone": lambda old, new: new.push_repo is None,
    },
    "pin, limits, uid range": {
        "stays": lambda old, new: old.pin is not None and new.pin == old.pin,
        "tombstone": lambda old, new: new.pin is None and new.tombstone == grave(old),
        "gone": lambda old, new: new.pin is None and new.tombstone is None,
    },
    "running or stopped": {
        "stays": lambda old, new: old.run is not None and new.run is not None and new.run["state"] == old.run["state"],
        "changes": lambda old, new: (old.run, new.run) == (asked("running", old), asked("stopped", old)),
        "reset": lambda old, new: new.run is None or new.run["state"] == "running",
        "gone": lambda old, new: old.run is not None and new.run is None,
    },
    "[pause](../howto/attach.md)": {
        "stays": lambda old, new: is_paused(old) and is_paused(new),
        "reset": lambda old, new: is_paused(old) and not is_paused(new),
        "gone": lambda old, new: is_paused(old) and new.run is None,
    },
    "deploy log": {"stays": lambda old, new: new.log[-len(old.log) :] == old.log},
    "generations": {
        "stays": lambda old, new: bool(old.generations) and new.generations == old.generations,
        "gone": lambda old, new: not new.generations,
    },
    "cards": {
        "stays": lambda old, new: bool(old.cards) and new.cards == old.cards,
        "made again from tags": lambda old, new: bool(old.cards) and new.cards == old.cards,
        "gone": lambda old, new: not new.cards,
    },
    "messages": {
        "stays": lambda old, new: new.messages == old.messages == ["hello"],
        "gone": lambda old, new: not new.messages,
    },
    "events, crash counters": {
        "stays": lambda old, new: old.events <= new.events and new.crashes == old.crashes == 1,
        "counters gone": lambda old, new: old.events <= new.events and (old.crashes, new.crashes) == (1, 0),
        "gone": lambda old, new: not old.events & new.events and (old.crashes, new.crashes) == (1, 0),
    },
    "[turns and their cost](../howto/budgets.md), budgets that are used up": {
        "stays": lambda old, new: bool(old.turns) and new.turns == old.turns,
        "gone": lambda old, new: bool(old.turns) and not new.turns,
    },
    "[live events](live-events.md) in the agent's log": {
        "stays": lambda old, new: new.event_log == old.event_log == "a log",
        "gone": lambda old, new: new.event_log is None,
    },
    "hive's copy of them": {
        "stays": lambda old, new: bool(old.copied_rows) and old.copied_rows <= new.copied_rows,
        "gone": lambda old, new: bool(old.copied_rows) and not new.copied_rows,
    },
    "reserve for a full disk": {
        "stays": lambda old, new: old.reserve == new.reserve > 0,
    },
    "files of an older hive from before its [migration](../howto/older-layout.md)": {
        "stays": lambda old, new: new.older == old.older == "{ }",
        "gone": lambda old, new: new.older is None,
    },
    "container log": {
        "stays": lambda old, new: bool(old.output) and (new.output or "").startswith(old.output or "?"),
        "gone": lambda old, new: new.output is None,
    },
}


def grave(old: Facts) -> dict[str, Any] | None:
    return {"pin": old.pin["pin"], "uid_base": old.pin["settings"]["uid_base"]} if old.pin else None


def is_paused(facts: Facts) -> bool:
    return facts.run is not None and facts.run.get("paused", False) is True


def asked(state: str, facts: Facts) -> dict[str, Any]:
    return {**(facts.run or {}), "state": state}


# the columns
def reboot(lab: Lab) -> None:
    """Nothing says goodbye, every process is gone, and so is /run."""
    pids = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if belongs(lab, path)]
    fds = [os.pidfd_open(pid) for pid in pids]
    os.kill(lab.pid, signal.SIGKILL)
    for fd in fds:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    for fd in fds:
        assert select.select([fd], [], [], 10)[0]
        os.close(fd)
    lab.died()
    shutil.rmtree(lab.layout.runtime)
    lab.start()


def belongs(lab: Lab, path: Path) -> bool:
    try:
        return str(lab.layout.state).encode() in path.read_bytes()
    except OSError:
        return False


def lose_database(lab: Lab) -> None:
    lab.kill()
    for path in lab.layout.state.glob("hive.db*"):
        path.unlink()
    lab.start()


def stop_and_kill(lab: Lab) -> None:
    lab.stop()
    lab.start()
    lab.settle()
    lab.kill()
    lab.start()


HAPPENINGS: dict[str, Callable[[Lab], object]] = {
    "`hive stop`": lambda lab: lab.post("/api/agents/halted/stop"),
    "`hive rebuild`": lambda lab: lab.post("/api/agents/rebuilt/rebuild"),
    "`hive destroy`": lambda lab: lab.post("/api/agents/destroyed/destroy"),
    "`destroy --purge`": lambda lab: lab.post("/api/agents/purged/destroy", purge=True),
    "daemon stop or kill": stop_and_kill,
    "reboot": reboot,
    "database lost": lose_database,
}


def table() -> dict[str, dict[str, str]]:
    """The page's first table, which is that of backend `local`: row -> column -> word."""
    first = PAGE.read_text(encoding="utf-8").partition("\n## ")[0]
    lines = [line for line in first.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    heads = cells[0]
    return {row[0]: dict(zip(heads[2:], (word.strip("*") for word in row[2:]), strict=True)) for row in cells[2:]}


def use_everything(lab: Lab) -> None:
    """Give every agent all that a row is about."""
    for agent in AGENTS:
        lab.post(f"/api/agents/{agent}/start")  # at least once, so that run.json has it
        os.kill(lab.agent(agent)["pid"], signal.SIGKILL)
        lab.post("/api/messages", to=agent, body="hello")
        name = AgentName(agent)
        (lab.layout.agent_state(name) / "notes").write_text("remember", encoding="utf-8")
        (lab.layout.agent_home(name) / "login").write_text("secret", encoding="utf-8")
        for file, text in TALK.items():
            (lab.layout.agent_state(name) / file).write_text(text, encoding="utf-8")
        (lab.layout.agent_home(name) / LOGIN).write_text("token", encoding="utf-8")
        (lab.layout.proposed_config(name) / "draft").write_text("unfinished", encoding="utf-8")
        older = lab.layout.applied(name) / "older"
        older.mkdir()
        (older / "flake.nix").write_text("{ }", encoding="utf-8")
    lab.until(lambda: all(row["crashes"] == 1 for row in lab.agents().values() if row["agent"] in AGENTS))
    lab.settle()
    for agent in AGENTS:
        lab.post(f"/api/agents/{agent}/turn/pause")
        add_turn(lab, agent)
    lab.settle()


def add_turn(lab: Lab, agent: str) -> None:
    """Add what a turn leaves: the tiny harness of these agents takes none."""
    layout = lab.layout
    layout.agent_state(AgentName(agent)).joinpath(EVENTS).write_text("a log", encoding="utf-8")
    for path, insert in (
        (layout.live, "INSERT INTO events (agent, log, id, ts, text) VALUES (?, 'log', 1, 1, '{}')"),
        (layout.database, "INSERT INTO turn_days (agent, day, model, turns) VALUES (?, 20000, 'opus', 1)"),
    ):
        with contextlib.closing(sqlite3.connect(path, timeout=10)) as database, database:
            database.execute(insert, (agent,))


pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.lab(agents=AGENTS, settings={"HIVE_HEALTH_DEADLINE": "10"}, fresh=True, prepare=use_everything),
]


def test_every_row_column_and_word_of_the_page_has_a_check() -> None:
    page = table()
    assert list(page) == list(ROWS)
    assert all(set(words) == set(COLUMNS) for words in page.values())
    assert [(row, word) for row, words in page.items() for word in words.values() if word not in ROWS[row]] == []


def test_what_the_page_says_of_each_cell_is_true(lab: Lab) -> None:
    page, wrong = table(), []
    for column, agent in COLUMNS.items():
        before = facts(lab, agent)
        HAPPENINGS[column](lab)
        lab.settle()
        after = facts(lab, agent)
        wrong += [
            f"{row} x {column}: the page says {words[column]!r}"
            for row, words in page.items()
            if not ROWS[row][words[column]](before, after)
        ]
    lab.do("halted", "destroy")
    assert ROWS["running or stopped"]["reset"](facts(lab, "halted"), facts(lab, "halted"))
    assert not wrong, "\n".join(wrong)

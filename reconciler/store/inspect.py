"""A look at the database file from outside, beside a daemon or without one. Nothing in it is changed."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from meta.names import AgentName, ProposalId
from reconciler.store.connection import BUSY_TIMEOUT
from reconciler.store.schema import migrations


@dataclass(frozen=True, slots=True)
class Inspected:
    """What was found. `fault`: why the file is not sound, "" when it is; the rest is then as far as it could be read.

    `cards`: the state of each id by agent; `stamps`: which state of the tags they show. `memos`:
    what is remembered of agents.
    """

    fault: str = ""
    version: int = 0
    known: int = 0
    cards: dict[AgentName, dict[ProposalId, str]] = field(default_factory=dict)
    stamps: dict[AgentName, str] = field(default_factory=dict)
    memos: dict[AgentName, dict[str, object]] = field(default_factory=dict)


def inspect(path: Path) -> Inspected:
    """The database at `path`, which is there. Blocks for as long as the check of the whole file takes."""
    known = len(migrations())
    try:
        with closing(_open(path)) as connection:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            faults = connection.execute("PRAGMA quick_check(1)").fetchone()
            if faults != ("ok",):
                return Inspected(str(faults[0]), version, known)
            if version == 0 or version > known:
                return Inspected("", version, known)
            cards: dict[AgentName, dict[ProposalId, str]] = {}
            for agent, id, state in connection.execute("SELECT agent, id, state FROM cards"):
                cards.setdefault(agent, {})[id] = state
            stamps = dict(connection.execute("SELECT agent, stamp FROM projections"))
            memos = {agent: _object(text) for agent, text in connection.execute("SELECT agent, memo FROM memos")}
            return Inspected("", version, known, cards, stamps, memos)
    except sqlite3.Error as error:
        return Inspected(str(error), 0, known)


def _object(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _open(path: Path) -> sqlite3.Connection:
    """Read-only. Without a write-ahead log nobody has it open, and then no side files are made either."""
    alone = not path.with_name(f"{path.name}-wal").exists()
    mode = "immutable=1" if alone else "mode=ro"
    return sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True, timeout=BUSY_TIMEOUT)

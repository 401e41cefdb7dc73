"""What happens in a turn and only a client of the pod sees: no log keeps it, and hive does not get it.

A runtime that does not report these parts is no worse for it: the pod's translation makes what it can of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["warn", "error"]
Source = Literal["pod", "worker", "compactor", "agents_md"]


@dataclass(frozen=True, slots=True)
class RequestBegins:
    """A request to the model begins."""


@dataclass(frozen=True, slots=True)
class RequestEnds:
    """A request to the model is answered. Tokens; None: not reported."""

    input: int | None = None
    output: int | None = None


@dataclass(frozen=True, slots=True)
class ToolBegins:
    """The model begins to write a call of a tool."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolPiece:
    """A piece of the arguments of the call that the model writes now, as JSON text."""

    json: str


@dataclass(frozen=True, slots=True)
class Warn:
    """A sentence for the person who watches. `source` is the part of the harness that says it.

    pod        the pod itself: a client that was cut off, texts that were dropped
    worker     the runtime's adapter, about its CLI
    compactor  a compaction that failed
    agents_md  the instructions in the folder of work that the model cannot read as they are
    """

    source: Source
    text: str
    level: Level = "warn"


Aside = RequestBegins | RequestEnds | ToolBegins | ToolPiece | Warn

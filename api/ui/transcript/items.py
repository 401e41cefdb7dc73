"""The values of a transcript. All texts are the agent's own and may be hostile; times are Unix seconds."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Say:
    """What the model says. `growing`: it is still being written."""

    key: str
    at: int
    text: str
    growing: bool = False


@dataclass(frozen=True, slots=True)
class Thought:
    """What the model thinks."""

    key: str
    at: int
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool. `arguments` is JSON text. Before its result `ended_at` is None; `lost`: none will come."""

    key: str
    at: int
    name: str
    arguments: str
    output: str = ""
    failed: bool = False
    ended_at: int | None = None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence of the harness, of the CLI, or about the turn. `kind` is note, warn or bad."""

    key: str
    at: int
    text: str
    kind: str = "note"
    until: float | None = None


Item = Say | Thought | Call | Remark


@dataclass(slots=True)
class Turn:
    """One turn: the message that began it, and its items. Without a `key` its beginning is not kept any more.

    `usage` is what it cost; figures are None where the runtime does not report them.
    """

    key: str
    at: int
    number: int = 0
    sender: str = ""
    body: str = ""
    unread: int = 0
    items: list[Item] = field(default_factory=list)
    ended_at: int | None = None
    ok: bool = True
    ending: str = ""
    seconds: float | None = None
    cost: float | None = None
    tokens: int | None = None

    @property
    def calls(self) -> int:
        """Return how many tools were called."""
        return sum(isinstance(item, Call) for item in self.items)

    @property
    def last_words(self) -> str:
        """Return what was said last."""
        return next((item.text for item in reversed(self.items) if isinstance(item, Say)), "")

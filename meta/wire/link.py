"""The link between hive and a harness: JSON lines on `harness.sock`.

The harness opens one connection and keeps it. It sends `hello` first, then a `state` whenever that changes and as the
answer to a `probe`. It sends the state `drained` once it is between turns and takes no more messages.
hive sends `drain`, `resume`, `cancel` and `probe`, and `closed` before it ends a connection. Unknown fields are
ignored; an unknown kind is an error.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class TurnState(StrEnum):
    """The turn state of a harness. All but `thinking` and `compacting` are between turns."""

    IDLE = "idle"
    THINKING = "thinking"
    COMPACTING = "compacting"
    DRAINED = "drained"
    NEEDS_LOGIN = "needs-login"
    PARKED = "parked"
    OVER_BUDGET = "over-budget"

    @property
    def in_turn(self) -> bool:
        """Return True while stopping the agent would lose work."""
        return self in (TurnState.THINKING, TurnState.COMPACTING)


Identifier = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9._-]*$")]
"""Text of an agent that hive shows and logs: short, without line ends and terminal escapes."""

TurnNumber = Annotated[int, Field(ge=0, le=2**53)]


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class Hello(_Line):
    """The first line of the harness. `generation` and `nonce` are what hive launched the container with.

    `seconds`: how long the harness has been in `state`, if it connects again in the middle of a turn. `turn`: the
    number of its latest turn; None from a harness that does not count them.
    """

    up: Literal["hello"] = "hello"
    generation: Identifier
    nonce: Identifier
    state: Annotated[TurnState, Field(strict=False)] = TurnState.IDLE
    seconds: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] = 0.0
    turn: TurnNumber | None = None


class State(_Line):
    """The new turn state, or the answer to the probe with the number `probe`. `turn` as in the hello."""

    up: Literal["state"] = "state"
    state: Annotated[TurnState, Field(strict=False)]
    probe: int | None = None
    turn: TurnNumber | None = None


class Drain(_Line):
    """Finish the turn, take no more messages, then send the state `drained`."""

    down: Literal["drain"] = "drain"
    deadline_seconds: float


class Resume(_Line):
    """Take messages again."""

    down: Literal["resume"] = "resume"


class Cancel(_Line):
    """End the turn now: it has taken longer than its limit. Its messages are given back.

    With `turn` only the turn with that number: another one may have begun meanwhile.
    """

    down: Literal["cancel"] = "cancel"
    turn: TurnNumber | None = None


class Probe(_Line):
    """Ask for a `state` with this number. The answer proves that the harness's event loop runs."""

    down: Literal["probe"] = "probe"
    probe: int


class Closed(_Line):
    """hive closes this connection, for this reason: another process of the agent has the link, say."""

    down: Literal["closed"] = "closed"
    reason: str


DownLine = Drain | Resume | Cancel | Probe | Closed
"""A line that hive sends."""
Up = Annotated[Hello | State, Field(discriminator="up")]
Down = Annotated[DownLine, Field(discriminator="down")]
UP: TypeAdapter[Hello | State] = TypeAdapter(Up)
DOWN: TypeAdapter[DownLine] = TypeAdapter(Down)

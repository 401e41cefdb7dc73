"""The link between hive and a harness: JSON lines on `harness.sock` (ARCHITECTURE 8).

One long connection, owned by the harness. It says `hello` first, then a `state` whenever that changes and as the
answer to a `probe`; it says state `drained` once it is between turns and takes no more messages.
hive sends `drain`, `resume` and `probe`, and `closed` before it ends a connection. Unknown fields are passed over; an
unknown kind is an error.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class TurnState(StrEnum):
    """What the harness is doing. All but `thinking` and `compacting` are between turns."""

    IDLE = "idle"
    THINKING = "thinking"
    COMPACTING = "compacting"
    DRAINED = "drained"
    NEEDS_LOGIN = "needs-login"
    PARKED = "parked"
    OVER_BUDGET = "over-budget"

    @property
    def in_turn(self) -> bool:
        """True while stopping would lose work."""
        return self in (TurnState.THINKING, TurnState.COMPACTING)


Identifier = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9._-]*$")]
"""What an agent says that is shown and logged by hive: short, and free of line ends and terminal escapes."""


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class Hello(_Line):
    """First line up. `generation` and `nonce` are what the container was launched with."""

    up: Literal["hello"] = "hello"
    generation: Identifier
    nonce: Identifier
    state: Annotated[TurnState, Field(strict=False)] = TurnState.IDLE


class State(_Line):
    """The turn state changed, or answers the probe numbered `probe`."""

    up: Literal["state"] = "state"
    state: Annotated[TurnState, Field(strict=False)]
    probe: int | None = None


class Drain(_Line):
    """Finish the turn, take no more messages, then say state `drained`."""

    down: Literal["drain"] = "drain"
    deadline_seconds: float


class Resume(_Line):
    """Take messages again."""

    down: Literal["resume"] = "resume"


class Probe(_Line):
    """Answer with `state` and this number: proves that the harness's loop runs."""

    down: Literal["probe"] = "probe"
    probe: int


class Closed(_Line):
    """hive closes this connection, for this reason: another process of the agent has the link, say."""

    down: Literal["closed"] = "closed"
    reason: str


Up = Annotated[Hello | State, Field(discriminator="up")]
Down = Annotated[Drain | Resume | Probe | Closed, Field(discriminator="down")]
UP: TypeAdapter[Hello | State] = TypeAdapter(Up)
DOWN: TypeAdapter[Drain | Resume | Probe | Closed] = TypeAdapter(Down)

"""One cell of the crash matrix: a scenario, the effect to die at, and what was seen afterwards."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from meta.errors import HiveError
from reconciler.plan.steps import OPERATIONS, STEPS
from tests.support.lab import Lab

Act = Callable[[], object]
"""The one request (or blow) in whose course the daemon is killed."""

EFFECTS_OF = {step.name: step.effects for step in STEPS}


def places(effect: str) -> tuple[str, ...]:
    """Return the failpoints of an effect in their order: before it, after each operation inside, after it."""
    return ("before", *OPERATIONS.get(effect, ()), "after")


@dataclass(frozen=True)
class Scenario:
    """What is going on while the daemon dies.

    `arrange` prepares a settled hive and returns the act; `seen` puts what became of it in words; `tidy` makes the
    hive as it was. `commands` are the effects of the act itself, `steps` the steps of the loop that follow: together
    they say which effects the scenario reaches. A kill ends as `ends` says, at some failpoints as `early` says:
    there the act had not happened yet, or not wholly. `touches`: the agent may be restarted once the act happened.
    """

    name: str
    arrange: Callable[[Cell], Act]
    seen: Callable[[Cell], str]
    ends: str
    commands: tuple[str, ...]
    steps: tuple[str, ...]
    agent: str = "alice"
    early: Mapping[str, str] = field(default_factory=dict)
    unreached: frozenset[str] = frozenset()
    """Failpoints behind something that fails in this scenario."""
    touches: bool = True
    calm: bool = True
    """Before the act the agent is at rest, so that an act which did not happen leaves it alone."""
    tidy: Callable[[Cell], None] = lambda _: None

    @property
    def effects(self) -> tuple[str, ...]:
        """Every effect that it reaches."""
        names = (*self.commands, *(name for step in self.steps for name in EFFECTS_OF[step]))
        return tuple(dict.fromkeys(names))

    @property
    def failpoints(self) -> tuple[str, ...]:
        """Before and after each of them, and after each operation inside."""
        points = (f"{name}:{place}" for name in self.effects for place in places(name))
        return tuple(point for point in points if point not in self.unreached)

    def expected(self, failpoint: str) -> str:
        """How a kill at `failpoint` has to end."""
        return self.early.get(failpoint, self.ends)


@dataclass
class Cell:
    """A kill (or two) in a scenario. `id` is the proposal that it is about, `before` the agents' rows at first."""

    lab: Lab
    scenario: Scenario
    failpoint: str
    before: dict[str, dict[str, Any]] = field(default_factory=dict)
    id: int | None = None
    newest: int = 0
    """The highest id before the act."""

    @property
    def agent(self) -> str:
        return self.scenario.agent

    @property
    def row(self) -> dict[str, Any] | None:
        """Its row of hive status, if there is such an agent."""
        return self.lab.agents().get(self.agent)

    def strike(self) -> None:
        """Arrange, arm, act, and see the daemon die."""
        act = self.scenario.arrange(self)
        self.before = self.lab.agents()
        self.newest = max((card["id"] for card in self.lab.get("/api/proposals", all=True)), default=0)
        if self.scenario.calm:
            self.lab.settle()  # or it dies in what was still to do for another agent
        self.lab.arm(self.failpoint)
        with contextlib.suppress(OSError, HiveError):
            act()
        assert self.lab.died() == -signal.SIGKILL, self.lab.tail()

    def strike_again(self) -> None:
        """Start a daemon that dies at the same failpoint, should it come there once more."""
        if self.lab.start(self.failpoint, expect_ready=False):
            try:
                self.lab.settle()
            except (OSError, HiveError):
                assert self.lab.died() == -signal.SIGKILL, self.lab.tail()
                return
            self.lab.kill()
        else:
            assert self.lab.died() == -signal.SIGKILL, self.lab.tail()

    def recover(self) -> str:
        """Start without a failpoint, wait for rest; what became of the act."""
        self.lab.start()
        self.lab.settle()
        return self.scenario.seen(self)

    @property
    def stays(self) -> bool:
        """Whether the agent must be the same process as before."""
        early = self.failpoint in self.scenario.early
        return self.scenario.calm if early else not self.scenario.touches

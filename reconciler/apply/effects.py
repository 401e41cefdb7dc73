"""One effect on the world, between the two failpoints at which the crash matrix kills the daemon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from meta.process.failpoint import hit, inside
from reconciler.plan.steps import COMMANDS, OPERATIONS, STEPS

EFFECTS: frozenset[str] = frozenset(
    name for names in (*(step.effects for step in STEPS), *COMMANDS.values()) for name in names
)
FAILPOINTS: tuple[str, ...] = tuple(
    sorted(f"{name}:{place}" for name in EFFECTS for place in ("before", *OPERATIONS.get(name, ()), "after"))
)


@contextmanager
def effect(name: str) -> Iterator[None]:
    """Wrap the effect `name` in its failpoints. Raise KeyError if the step table does not list it."""
    if name not in EFFECTS:
        raise KeyError(f"effect {name!r} is not in the step table")
    hit(f"{name}:before")
    with inside(name):
        yield
    hit(f"{name}:after")

"""What a decision of a scope costs. `python -m tests.bench.scopes`.

The scope has 100 rules, the path is eight folders deep. The floor asks each rule in turn, with nothing prepared.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

from meta.scope.rules import READ, WRITE, Rule, Scope
from tests.bench.figure import Figure, figure

RULES = 100
RUNS = 9
DECISIONS = 2_000
PATH = "/srv/work/part-7/src/core/net/http/client.py"


def measure() -> Iterator[Figure]:
    """A decision, beside one that asks every rule."""
    allow = [Rule(f"/srv/work/part-{number}", WRITE if number % 2 else READ) for number in range(RULES // 2)]
    deny = [Rule(f"/srv/work/part-{number}/src/keys", READ, number % 3 == 0) for number in range(RULES // 2)]
    scope = Scope(tuple(allow), tuple(deny))

    def naive() -> None:
        [rule for rule in allow if rule.matches(PATH)]
        [rule for rule in deny if rule.matches(PATH)]

    value = [_microseconds(lambda: scope.permission(PATH)) for _ in range(RUNS)]
    floor = [_microseconds(naive) for _ in range(RUNS)]
    yield figure(f"a decision of a scope of {RULES} rules", "µs", value, floor=floor, at_most=20)


def _microseconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(DECISIONS):
        call()
    return (time.perf_counter() - began) / DECISIONS * 1e6


if __name__ == "__main__":
    for each in measure():
        sys.stdout.write(f"{each}\n")

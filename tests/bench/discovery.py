"""From a push to its card, beside the same commit proposed by hand: `python -m tests.bench.discovery`.

Both fetch the commit in quarantine; what is more on the first is the watching.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from meta.names import AgentName
from meta.proposed import push_repo
from tests.bench.figure import Figure, figure
from tests.support.lab import Lab, fresh_lab

RUNS = 15
SETTINGS = {"HIVE_RESYNC": "600", "HIVE_FINDS_PER_MINUTE": "1000"}
WHY = "Half of it is the fetch itself: bubblewrap, upload-pack, index-pack; seven processes, three more write the tags."


def measure() -> Iterator[Figure]:
    """Alternating, so that both see the same machine."""
    timed: dict[str, list[float]] = {"seen": [], "proposed": []}
    with fresh_lab("b", SETTINGS) as lab:
        lab.spawn("alice")
        for number in range(RUNS):
            timed["seen"].append(seen(lab, number))
            timed["proposed"].append(proposed(lab, number))
    yield figure("push to card", "ms", timed["seen"], floor=timed["proposed"], at_most=300, why=WHY)


def seen(lab: Lab, number: int) -> float:
    """Milliseconds from the end of `git push` to the card."""
    clone = lab.commit(f'label = "pushed {number}"\n')
    repo = push_repo.path_of(lab.layout, AgentName("alice"))
    with lab.client().events() as stream:
        lab.git(clone, "push", "-q", "-f", str(repo), "HEAD:refs/heads/main")
        began = time.perf_counter()
        while True:
            event = stream.next(30)
            assert event is not None, lab.tail()
            if event.kind == "proposal_created":
                return (time.perf_counter() - began) * 1000


def proposed(lab: Lab, number: int) -> float:
    """Milliseconds of `hive propose --from` without the command's own start."""
    clone = lab.commit(f'label = "proposed {number}"\n')
    began = time.perf_counter()
    id = lab.post("/api/proposals", agent="alice", source=str(clone))["id"]
    took = (time.perf_counter() - began) * 1000
    lab.post(f"/api/proposals/{id}/deny")
    return took


if __name__ == "__main__":
    for one in measure():
        sys.stdout.write(f"{one}\n")

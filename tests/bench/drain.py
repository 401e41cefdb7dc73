"""What draining adds to the switch of an agent that does nothing: `python -m tests.bench.drain`.

With the real harness, whose answer is waited for. The step's time is from the daemon's own metrics; the floor is the
whole restart with `--now`, which leaves the drain out.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator

from tests.bench.figure import Figure, figure
from tests.support.lab import Lab, fresh_lab

RUNS = 10
LIMIT = 65_536


def measure() -> Iterator[Figure]:
    """Alternating, so that both see the same machine."""
    drains, with_it, without = [], [], []
    with fresh_lab("b", {"HIVE_RESYNC": "600", "HIVE_DRAIN_DEADLINE": "5"}, tiny=False) as lab:
        lab.spawn("alice")
        for _ in range(RUNS):
            before = step(lab, "drain")
            with_it.append(restart(lab))
            after = step(lab, "drain")
            assert after[1] == before[1] + 1, "the agent was not drained"
            drains.append((after[0] - before[0]) * 1000)
            without.append(restart(lab, now=True))
    yield figure("drain of an idle agent", "ms", drains, at_most=50)
    yield figure("restart of an idle agent, beside one with --now", "ms", with_it, floor=without)


def restart(lab: Lab, **body: object) -> float:
    """Milliseconds until nothing is left to do."""
    began = time.perf_counter()
    lab.do("alice", "restart", **body)
    return (time.perf_counter() - began) * 1000


def step(lab: Lab, name: str) -> tuple[float, float]:
    """Seconds that a step took so far, and how often."""
    label = f'{{step="{name}"}}'
    found = dict(line.rsplit(" ", 1) for line in metrics(lab).splitlines() if label in line)
    return tuple(float(found.get(f"hive_step_seconds_{part}{label}", 0)) for part in ("sum", "count"))  # type: ignore[return-value]


def metrics(lab: Lab) -> str:
    """Every metric as text."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(lab.layout.http_socket))
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: hive\r\nConnection: close\r\n\r\n")
        parts = []
        while part := sock.recv(LIMIT):
            parts.append(part)
    return b"".join(parts).decode()


if __name__ == "__main__":
    for one in measure():
        sys.stdout.write(f"{one}\n")
        sys.stdout.flush()

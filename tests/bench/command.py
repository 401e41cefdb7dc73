"""`hive status` beside `python -c "import typer"`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figure import Figure, figure
from tests.support.lab import fresh_lab

RUNS = 15


def measure() -> Iterator[Figure]:
    """Alternating, so that both see the same machine."""
    timed: dict[str, list[float]] = {"hive": [], "floor": []}
    with fresh_lab("b") as lab:
        place = ["--state", str(lab.layout.state), "--runtime", str(lab.layout.runtime)]
        hive = [str(Path(sys.executable).parent / "hive"), "status", *place]
        floor = [sys.executable, "-c", "import typer"]
        for _ in range(RUNS):
            timed["hive"].append(run(hive))
            timed["floor"].append(run(floor))
    yield figure("hive status", "ms", timed["hive"], floor=timed["floor"], ratio_at_most=2.0)


def run(argv: list[str]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    subprocess.run(argv, stdout=subprocess.DEVNULL, timeout=30, check=True)
    return (time.perf_counter() - began) * 1000

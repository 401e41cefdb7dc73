"""`hive status` beside `python -c "import typer"`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.figure import Figure, figure
from tests.support.lab import Lab

RUNS = 15


def measure() -> list[Figure]:
    """Alternating, so that both see the same machine."""
    with tempfile.TemporaryDirectory(prefix="hb") as name:
        Path(name).chmod(0o755)
        lab = Lab(Path(name))
        lab.start()
        lab.settle()
        place = ["--state", str(lab.layout.state), "--runtime", str(lab.layout.runtime)]
        hive = [str(Path(sys.executable).parent / "hive"), "status", *place]
        floor = [sys.executable, "-c", "import typer"]
        timed: dict[str, list[float]] = {"hive": [], "floor": []}
        for _ in range(RUNS):
            timed["hive"].append(run(hive))
            timed["floor"].append(run(floor))
        lab.post("/api/agents/manager/stop", now=True)
        lab.settle()
        lab.stop()
    return [figure("hive status", "ms", timed["hive"], floor=timed["floor"], ratio_at_most=2.0)]


def run(argv: list[str]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    subprocess.run(argv, stdout=subprocess.DEVNULL, timeout=30, check=True)
    return (time.perf_counter() - began) * 1000

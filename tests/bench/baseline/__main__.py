"""`make bench-baseline`: today's hive beside commit 4adf687; a table, and build/bench-baseline.json."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from tests.bench.__main__ import machine
from tests.bench.baseline import messages
from tests.bench.baseline.rounds import table
from tests.bench.baseline.trees import BASELINE

OUT = Path("build/bench-baseline.json")
MEASURES = (messages.measure,)


def main() -> int:
    """Measure, and print what was measured."""
    if not BASELINE.exists():
        sys.stderr.write("hive: build/baseline is missing: make bench-baseline makes it\n")
        return 1
    rows = [row for measure in MEASURES for row in measure()]
    sys.stdout.write(f"{machine()}\n\n{table(rows)}\n")
    OUT.write_text(json.dumps({"machine": machine(), "rows": [asdict(row) for row in rows]}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`make bench`: prints each figure beside a floor from the same run, and writes build/bench.json."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

from tests.bench import (
    broker,
    command,
    dashboard,
    dashboard_diff,
    deploy,
    discovery,
    drain,
    egress,
    footprint,
    idle,
    live,
    migration,
    nix,
    nixos,
    old,
    pods,
    relay,
    scale,
    scopes,
    stream,
    turns,
    upgrade,
)
from tests.bench.figure import Figure

OUT = Path("build/bench.json")
MEASURES = (
    command.measure,
    deploy.measure,
    discovery.measure,
    drain.measure,
    idle.measure,
    broker.measure,
    stream.measure,
    live.measure,
    relay.measure,
    egress.measure,
    turns.measure,
    footprint.measure,
    dashboard_diff.measure,
    nix.measure,
    nixos.measure,
    upgrade.measure,
    migration.measure,
    scale.measure,
    scopes.measure,
    pods.measure,
    dashboard.measure,
    old.measure,
)


def machine() -> str:
    """What it was measured on."""
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}"
    )


def main() -> int:
    """Measure everything."""
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "")
    print(machine())  # noqa: T201
    figures: list[Figure] = []
    for measure in MEASURES:
        for figure in measure():
            print(figure, flush=True)  # noqa: T201
            figures.append(figure)
    OUT.parent.mkdir(exist_ok=True)
    rows = [{"name": "machine", "value": machine()}, *(figure.as_dict() for figure in figures)]
    OUT.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What an upgrade costs with ten agents on a systemd host made for it: seconds without a daemon, and of each agent.

`python -m tests.bench.upgrade` runs inside of that host. The daemon, its helper and the helper's socket are restarted
while all agents are in mid-turn. The downtime of an agent is from the moment its container begins to stop to its hello:
hive's in a drained rebuild of all, in waves, beside that in a `systemctl restart` of as many units at once.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figure import Figure, figure
from tests.bench.inside import booted, measured
from tests.systemd import busy, upgrade
from tests.systemd.nixstory import run

AGENTS = 10
RUNS = 3
WAVE = 5
SECONDS = 900.0
IMPORTS = (
    "import api.daemon.serve, api.http.app, api.mcp.app, reconciler.daemon.daemon, reconciler.backends.nixos.backend"
)
SETTINGS = {**busy.SETTINGS, "resync": 600.0, "starts": 20, "rebuild_wave": WAVE, "drain_deadline": 30.0}


def measure() -> Iterator[Figure]:
    """Nothing where there can be no such host."""
    with booted(SETTINGS) as made:
        if made is None:
            return
        timed = measured(made, "tests.bench.upgrade", seconds=SECONDS)
    yield figure(
        f"upgrade with {AGENTS} agents in mid-turn, without a daemon",
        "s",
        timed["outage"],
        floor=timed["imports"],
        at_most=3,
        why="The floor is Python with the daemon's modules and nothing else.",
    )
    yield figure("  its systemctl restart", "s", timed["restart"])
    yield figure(
        f"downtime of an agent, rebuilt {WAVE} at a time", "ms", timed["hive"], floor=timed["bare"], ratio_at_most=1.2
    )


# inside of the host
def timed(story: busy.Busy) -> dict[str, list[float]]:
    """Switches, rebuilds and bare restarts in turn."""
    found: dict[str, list[float]] = {"outage": [], "restart": [], "imports": [], "hive": [], "bare": []}
    for _ in range(RUNS):
        began = time.monotonic()
        run(sys.executable, "-c", IMPORTS)
        found["imports"].append(time.monotonic() - began)
        with busy.Watch(story) as seen:
            found["restart"].append(upgrade.switch(story, seen))
        found["outage"].append(seen.longest)
        story.settled("the turns' end", lambda: all(row["turn_since"] is None for row in story.rows().values()))
        found["hive"] += rebuilt(story)
        found["bare"] += restarted(story)
    return found


def rebuilt(story: busy.Busy) -> list[float]:
    """Milliseconds of each agent in `hive rebuild --all`."""
    healthy: dict[str, float] = {}
    with story.client.events() as stream:
        story.client.post("/api/rebuild-all", {})
        while True:
            event = stream.next(120)
            assert event is not None, story.tail()
            if event.kind == "agent_healthy" and event.data["agent"] in story.names:
                healthy[event.data["agent"]] = time.monotonic()
            if event.kind == "rebuild_all_ended":
                break
    assert healthy.keys() == set(story.names), healthy
    return [(at - stopped(name)) * 1000 for name, at in healthy.items()]


def stopped(name: str) -> float:
    """When a container last began to stop, on the clock of time.monotonic.

    By the journal: systemd forgets the times of a unit that is down for a moment.
    """
    unit = f"container@{name}.service"
    run("journalctl", "--sync")
    lines = run("journalctl", "--output=json", f"--unit={unit}").splitlines()
    entries = [entry for entry in map(json.loads, lines) if str(entry["MESSAGE"]).startswith(f"Stopping {unit}")]
    return int(entries[-1]["__MONOTONIC_TIMESTAMP"]) / 1e6


def restarted(story: busy.Busy) -> list[float]:
    """Milliseconds of each in a bare restart of as many as a wave has, without a daemon."""
    for name in story.names:
        story.client.post(f"/api/agents/{name}/stop", {"now": True})
    story.settled("the stop", lambda: {story.rows()[name]["phase"] for name in story.names} == {"stopped"})
    run("systemctl", "stop", "hive")
    found = []
    for first in range(0, AGENTS, WAVE):
        found += wave(story, story.names[first : first + WAVE])
    story.start()
    for name in story.names:
        story.client.post(f"/api/agents/{name}/start", {})
    story.all_run()
    return found


def wave(story: busy.Busy, names: list[str]) -> list[float]:
    """Start them, restart them all at once, and stop them again."""
    units = [f"container@{name}" for name in names]
    places = {name: story.runtime / "agents" / name / "harness.sock" for name in names}
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as waiting:
        for name, path in places.items():
            path.unlink(missing_ok=True)
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(path))
            path.chmod(0o666)
            listener.listen()
            waiting.register(listener, selectors.EVENT_READ, name)
        hellos("start", units, waiting, stack)
        came = hellos("restart", units, waiting, stack)
        took = [(came[name] - stopped(name)) * 1000 for name in names]
        run("systemctl", "stop", *units)
    for path in places.values():
        path.unlink()
    return took


def hellos(
    verb: str, units: list[str], waiting: selectors.BaseSelector, stack: contextlib.ExitStack
) -> dict[str, float]:
    """When the harness of each connected, after `systemctl verb`. The connections stay open."""
    came: dict[str, float] = {}
    with subprocess.Popen(["systemctl", verb, *units], stdin=subprocess.DEVNULL) as systemctl:
        while len(came) < len(units):
            ready = waiting.select(60)
            assert ready, f"{came.keys()} of {units}"
            for key, _ in ready:
                assert isinstance(key.fileobj, socket.socket)
                stack.enter_context(key.fileobj.accept()[0])
                came[key.data] = time.monotonic()
        assert systemctl.wait(60) == 0
    return came


def main() -> int:
    """Measure, and print it as one line of JSON."""
    with tempfile.TemporaryDirectory() as folder:
        story = busy.Busy(Path(folder), AGENTS)
        story.start()
        story.healthy("manager")
        story.spawn()
        found = timed(story)
        run("systemctl", "stop", "hive")
    sys.stdout.write(f"{json.dumps(found)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Twenty agents at once: `python -m tests.systemd.swarm` inside of a systemd host, with builder `nix`.

They are spawned, deployed, restarted and destroyed at the same time, and the daemon is killed while all of them run.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from api.cli.client import paths
from api.cli.client.http import Client
from tests.e2e.story import check
from tests.systemd.matrix import agree
from tests.systemd.nixstory import ETC, NixStory, run

AGENTS = 20
SECONDS = 120.0
NAMES = [f"a{number}" for number in range(AGENTS)]
SETTINGS: dict[str, str | float] = {"health_deadline": 120, "starts": 6, "finds_per_minute": 100}
"""A machine of two cores boots twenty containers: nobody is late."""


class Swarm(NixStory):
    """Asks for all at once."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, out=lambda line: print(line, flush=True))  # noqa: T201
        self.client = Client(paths.find(str(self.state), str(self.runtime)))

    def rows(self) -> dict[str, dict[str, Any]]:
        """The agents' rows of hive status, without the manager's."""
        rows = self.client.row("/api/status")["agents"]
        return {row["agent"]: row for row in rows if row["agent"] != "manager"}

    def all(self, verb: str, phase: str, **body: object) -> float:
        """Ask it of all, wait until all are in `phase`; seconds."""
        began = time.monotonic()
        for name in NAMES:
            self.client.post(f"/api/agents/{name}/{verb}", body)
        self.all_are(phase)
        return time.monotonic() - began

    def all_are(self, phase: str) -> None:
        """Wait until all are, and nothing is left to do."""
        deadline = time.monotonic() + SECONDS
        while True:
            rows = self.rows()
            phases = {rows[name]["phase"] for name in NAMES if name in rows}
            if phases == {phase} and len(rows) == AGENTS and self.client.row("/api/wait", {"timeout": 5})["settled"]:
                return
            check("failed" not in phases, f"{[row for row in rows.values() if row['phase'] == 'failed']}")
            check(time.monotonic() < deadline, f"after {SECONDS:g} s they are {phases}\n{self.tail()}")
            time.sleep(0.2)  # looking costs the daemon, too


def tell(story: Swarm) -> None:
    """Every part; raises Unexpected."""
    story.start()
    story.healthy("manager")
    took = story.all("spawn", "running")
    story.say(f"{AGENTS} agents spawned at once", f"all run after {took:.1f} s")
    rows = story.rows()
    bases = {name: uid_base(story, name) for name in NAMES}
    check(len(set(bases.values())) == AGENTS, "two have the same uid range")
    check(len({row["pid"] for row in rows.values()}) == AGENTS, "two are the same process")
    agree(story, {**rows, "manager": story.agent("manager")})

    os.kill(story.main_pid, signal.SIGKILL)
    story.until("the daemon is back", story.answers)
    story.all_are("running")
    after = story.rows()
    check({name: after[name]["pid"] for name in NAMES} == {name: rows[name]["pid"] for name in NAMES}, "some restarted")
    story.say("kill -9 of the daemon", "none of them was restarted, all are known again")

    took = story.all("restart", "running")
    check(all(story.rows()[name]["pid"] != rows[name]["pid"] for name in NAMES), "one was not restarted")
    story.say("all restarted at once", f"all run after {took:.1f} s")
    agree(story, {**story.rows(), "manager": story.agent("manager")})

    began = time.monotonic()
    for name in NAMES:
        story.client.post(f"/api/agents/{name}/destroy", {"purge": True})
    deadline = time.monotonic() + SECONDS
    while story.rows():
        check(time.monotonic() < deadline, f"still there: {story.json('plan')}\n{story.tail()}")
        time.sleep(0.2)
    check([path.name for path in ETC.glob("*.conf")] == ["manager.conf"], "conf files are left")
    units = run("systemctl", "list-units", "--plain", "--no-legend", "--state=active", "container@*").splitlines()
    check(len(units) == 1, f"units: {units}")
    story.say("all destroyed and purged", f"nothing is left after {time.monotonic() - began:.1f} s")


def uid_base(story: Swarm, name: str) -> int:
    """The first uid of its range, as its process has it."""
    pid = story.agent(name)["pid"]
    (leader,) = (int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[:1])
    return int(Path(f"/proc/{leader}/uid_map").read_text().split()[1])


def main() -> int:
    """Tell it."""
    with tempfile.TemporaryDirectory() as folder:
        story = Swarm(Path(folder))
        tell(story)
        story.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())

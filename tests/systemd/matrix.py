"""The crash matrix where it differs: backend `nixos`, builder `nix`, the daemon as a unit that dies at a failpoint.

Runs inside of a systemd host: `python -m tests.systemd.matrix few|all`. Each cell gives hive.service one failpoint,
asks for something, sees the daemon killed there, starts it without, and looks whether meta, tags, profile, conf file,
unit and cards tell one story. With `all` each is killed at the same place a second time, too.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.cli.client import paths
from api.cli.client.http import Client
from meta.errors import HiveError
from tests.e2e.story import Unexpected, check
from tests.systemd.nixstory import ETC, NIX, PROFILES, UNIT, NixStory, run

DROP_IN = Path("/run/systemd/system") / f"{UNIT}.d" / "failpoint.conf"
ARMED = "[Service]\nRestart=no\nEnvironment=HIVE_FAILPOINT={}\n"
FEW = ("set-system:after", "start:after")
DEPLOY = ("candidate", "build", "stop", "set-system", "write-settings", "start", "commit-meta", "tag-deployed")
SPAWN = ("create", "own-directories", "set-system", "start")
END = ("destroy", "close-sockets", "purge-directories")
SIDES = ("before", "after")


class Hive(NixStory):
    """A hive whose daemon dies where it is told to."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, out=lambda line: print(line, flush=True))  # noqa: T201
        self.client = Client(paths.find(str(self.state), str(self.runtime)))
        self.proposed = 0

    def arm(self, failpoint: str) -> None:
        """A daemon that will die there."""
        DROP_IN.parent.mkdir(parents=True, exist_ok=True)
        DROP_IN.write_text(ARMED.format(failpoint), encoding="ascii")
        run("systemctl", "daemon-reload")
        run("systemctl", "restart", UNIT)
        self.until("the daemon answers", self.answers)

    def await_death(self) -> None:
        """Wait until the unit has failed, by SIGKILL."""

        def look() -> bool | None:
            shown = run("systemctl", "show", "--property=ActiveState,Result", "--value", UNIT).split()
            return True if set(shown) == {"failed", "signal"} else None

        self.until("the daemon's death", look)

    def die_again(self) -> None:
        """Start a daemon that comes to the same place (or has nothing to do there any more)."""
        run("systemctl", "reset-failed", UNIT)
        run("systemctl", "start", "--no-block", UNIT)

        def look() -> bool | None:
            shown = run("systemctl", "show", "--property=ActiveState,Result", "--value", UNIT).split()
            if "failed" in shown:
                return True
            # without the daemon `hive wait` has nobody to ask
            return True if "active" in shown and self.at_rest() else None

        self.until("the second daemon's death or rest", look)

    def at_rest(self) -> bool:
        """Whether the daemon answers and has nothing left to do."""
        try:
            return bool(self.client.row("/api/wait", {"timeout": 5})["settled"])
        except HiveError:
            return False

    def recover(self) -> None:
        """A daemon without a failpoint, until nothing is left to do."""
        DROP_IN.unlink()
        run("systemctl", "daemon-reload")
        run("systemctl", "reset-failed", UNIT)
        run("systemctl", "restart", UNIT)
        self.until("the daemon answers", self.answers)
        check(
            self.client.row("/api/wait", {"timeout": 30})["settled"], f"not at rest: {self.json('plan')}\n{self.tail()}"
        )

    def propose_port(self) -> int:
        """A proposal that was evaluated; its id."""
        self.proposed += 1
        self.commit("agent.nix", NIX.format(f"networking.firewall.allowedTCPPorts = [ {9000 + self.proposed} ];"))
        id = int(self.json("propose", "alice")["id"])
        self.evaluated(id)
        return id


@dataclass(frozen=True)
class Cell:
    """One scenario killed at one place. `arrange` gives the act; `agent` is whom it is about."""

    scenario: str
    failpoint: str
    agent: str
    arrange: Callable[[Hive], Callable[[], object]]


def deploy(hive: Hive) -> Callable[[], object]:
    id = hive.propose_port()
    return lambda: hive.client.post(f"/api/proposals/{id}/approve")


def spawn(hive: Hive) -> Callable[[], object]:
    return lambda: hive.client.post("/api/agents/carol/spawn")


def end(hive: Hive) -> Callable[[], object]:
    hive.hive("spawn", "carol", "--wait")
    return lambda: hive.client.post("/api/agents/carol/destroy", {"purge": True})


def cells(which: str) -> list[Cell]:
    """The few of every run, or all."""
    if which == "few":
        return [Cell("deploy", failpoint, "alice", deploy) for failpoint in FEW]
    found = [Cell("deploy", f"{name}:{side}", "alice", deploy) for name in DEPLOY for side in SIDES]
    found += [Cell("spawn", f"{name}:{side}", "carol", spawn) for name in SPAWN for side in SIDES]
    return found + [Cell("destroy", f"{name}:{side}", "carol", end) for name in END for side in SIDES]


def strike(hive: Hive, cell: Cell, *, twice: bool) -> str:
    """Kill (twice), start, agree; in words what became of it."""
    act = cell.arrange(hive)
    hive.arm(cell.failpoint)
    before = {row["agent"]: row for row in hive.json("status")["agents"]}
    with contextlib.suppress(OSError, HiveError):  # it may die before it answers
        act()
    hive.await_death()
    if twice:
        hive.die_again()
    hive.recover()
    after = {row["agent"]: row for row in hive.json("status")["agents"]}
    for name, row in before.items():
        if name != cell.agent:
            check(after[name]["pid"] == row["pid"], f"{name} is another process")
    agree(hive, {name: row for name, row in after.items() if row["desired"] != "absent"})
    outcome = outcome_of(hive, cell, after)
    if cell.agent == "carol" and "carol" in after:
        hive.hive("destroy", "carol", "--purge", "--yes", "--wait")
    return outcome


def outcome_of(hive: Hive, cell: Cell, after: dict[str, Any]) -> str:
    row = after.get(cell.agent)
    if cell.scenario == "destroy":
        left = [path for path in (ETC / "carol.conf", PROFILES / "carol", hive.state / "agents/carol") if path.exists()]
        check(row is None and not left, f"carol is still there: {row}, {left}")
        return "purged"
    if cell.scenario == "spawn" and row is not None and row["phase"] == "failed":
        return f"failed: {row['conditions'][0]}"
    check(row is not None and row["phase"] == "running", f"{cell.agent} is {row}")
    if cell.scenario == "spawn":
        return "running"
    card = max(hive.json("pending", "--all"), key=lambda card: int(card["id"]))
    events = [
        event
        for event in hive.client.get("/api/events", {"follow": 0, "limit": 1000})
        if event["data"].get("id") == card["id"]
    ]
    told = Counter(event["kind"] for event in events)
    kind = {"deployed": "deploy_succeeded", "failed": "deploy_failed"}[card["state"]]
    check(told[kind] == 1, f"{kind} of {card['id']} was told {told[kind]} times")
    return f"{card['state']}: {str(card['note']).splitlines()[0]}" if card["state"] == "failed" else str(card["state"])


def agree(hive: NixStory, agents: dict[str, Any]) -> None:
    """Meta, tags, profiles, conf files, units and machines tell one story, and nothing is left over."""
    meta = hive.state / "meta" / ".git"
    entries = json.loads(hive.git(meta, "show", "main:agents.json"))["agents"]
    pins = {name: entry["pin"] for name, entry in entries.items()}
    check(set(pins) == set(agents), f"meta has {set(pins)}, hive shows {set(agents)}")
    for name, pin in pins.items():
        repo = hive.applied(name)
        for tag in (f"deployed/{pin['id']}", f"proposal/{pin['id']}"):
            found = hive.git(repo, "rev-parse", f"refs/tags/{tag}^{{commit}}")
            check(found == pin["sha"], f"{name}: {tag} is {found}, meta pins {pin['sha']}")
        check(agents[name]["sha"] == pin["sha"], f"{name} runs {agents[name]['sha']}, meta pins {pin['sha']}")
        check(hive.booted(name) == hive.profile(name), f"{name} boots {hive.booted(name)}, its profile is another")
        check(str(hive.profile(name)) in (ETC / f"{name}.conf").read_text(), f"{name}.conf has another system")
    check("candidate" not in hive.git(meta, "for-each-ref"), "a candidate is left over")
    units = run("systemctl", "list-units", "--plain", "--no-legend", "--state=active", "container@*").splitlines()
    check({line.split()[0] for line in units} == {f"container@{name}.service" for name in agents}, f"units: {units}")
    machines = {line.split()[0] for line in run("machinectl", "--no-legend", "list").splitlines()}
    check(machines == set(agents), f"machines: {machines}")
    confs = {path.stem for path in ETC.glob("*.conf")}
    check(confs == set(agents), f"conf files: {confs}")
    files = (path for folder in ("applied", "meta") for path in (hive.state / folder).glob("**/*.lock"))
    locks = [path for path in files if ".git" in path.parts]
    check(not locks, f"locks: {locks}")
    for folder in ("processes", "scratch", "quarantine"):
        check(not any((hive.state / folder).iterdir()), f"{folder}: {list((hive.state / folder).iterdir())}")
    check(all(row["step"] == "none" for row in hive.json("plan")), f"the plan is not empty: {hive.json('plan')}")


def main(which: str) -> int:
    """Every cell; one line for each. `which`: few, all, or how the names of the wanted cells of all begin."""
    wanted = [(cell, twice) for cell in cells(which) for twice in ((False,) if which == "few" else (False, True))]
    with tempfile.TemporaryDirectory() as folder:
        hive, failed = Hive(Path(folder)), 0
        hive.start()
        hive.healthy("manager")
        hive.hive("spawn", "alice", "--wait")
        for cell, twice in wanted:
            name = f"{cell.scenario} {cell.failpoint}{' twice' if twice else ''}"
            if which not in ("few", "all") and not name.startswith(which):
                continue
            try:
                said = strike(hive, cell, twice=twice)
            except Unexpected as error:
                hive.out(f"  {name}: WRONG: {error}\n{hive.tail()}")
                return 1
            wrong = said.startswith("failed") and not twice
            failed += wrong
            hive.out(f"  {name}: {said}{' WRONG' if wrong else ''}")
        hive.end()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

"""A switch of the host to another hive while agents are in mid-turn: `python -m tests.systemd.upgrade COUNT`.

Inside of a systemd host with builder `nix`. What a switch does to hive's units is done to them: a reload of systemd
and a restart of all at once; and, as for a new systemd, its start anew. Meanwhile messages come in without a pause.
"""

from __future__ import annotations

import contextlib
import platform
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from api.cli.client import paths
from api.cli.client.http import Client
from meta.errors import HiveError
from meta.names import AgentName
from reconciler.privileged import conf
from reconciler.privileged.values import Bounds
from tests.e2e.story import check
from tests.support.systemd import host
from tests.systemd.nixstory import ETC, NIX, UNIT, NixStory, run

SETTINGS: dict[str, str | float] = {"health_deadline": 120, "health_stable": 0, "starts": 6, "reconnect_grace": 20}
UNITS = ("hive-privileged.socket", "hive-privileged.service", UNIT)
TURN = 5.0
"""Seconds of each turn. A restart begins before they are over, on a busy machine too; it may end after."""
RULES = f"""
[[script]]
when = 'work (?P<n>\\d+)'
send = {{ to = "operator", body = "begun {{n}}" }}
sleep = {TURN:g}
reply = "worked {{n}}"
[[script]]
when = 'note (?P<n>\\d+)'
reply = "noted {{n}}"
"""
BUILD = f"""environment.systemPackages = [ (derivation {{
    name = "slow-@time@"; system = "{platform.machine()}-linux"; builder = "/bin/sh";
    args = [ "-c" "/bin/sleep 2; echo slow >$out" ];
  }}) ];"""
HARM = ("container_crash", "agent_restarted", "agent_stopped", "agent_unhealthy", "turn_killed", "turn_stuck")
HARM += ("message_dead", "reconcile_error", "daemon_failed")
"""What no switch may cause."""
LONG = 240.0


class Upgrade(NixStory):
    """A hive with agents that work."""

    def __init__(self, directory: Path, count: int) -> None:
        super().__init__(directory, out=lambda line: print(line, flush=True))  # noqa: T201
        self.client = self.connect()
        self.names = [f"a{number}" for number in range(count)]

    def connect(self) -> Client:
        """A client of its own, for a thread."""
        return Client(paths.find(str(self.state), str(self.runtime)))

    def rows(self) -> dict[str, dict[str, Any]]:
        """The agents' rows of hive status."""
        return {row["agent"]: row for row in self.client.row("/api/status")["agents"]}

    def pids(self) -> dict[str, int]:
        """The process of each agent that works."""
        rows = self.rows()
        return {name: rows[name]["pid"] for name in self.names}

    def settled(self, what: str, look: Callable[[], bool]) -> None:
        """Wait until it is so."""
        deadline = time.monotonic() + LONG
        while not look():
            check(time.monotonic() < deadline, f"{what} did not happen: {self.rows()}\n{self.tail()}")
            time.sleep(0.1)  # looking costs the daemon, too

    def spawn(self) -> None:
        """All agents, each with RULES."""
        for name in (*self.names, "alice"):
            self.client.post(f"/api/agents/{name}/spawn")
        self.all_run()
        self.say("the agents", "run")
        for name in self.names:
            card = self.client.post(f"/api/agents/{name}/settings", {"text": RULES})
            self.client.post(f"/api/proposals/{card['id']}/approve", query={"agent": name})
        self.settled("the deploys", lambda: {row["deployed"] for row in self.cards()} == {True})
        self.all_run()

    def cards(self) -> list[dict[str, Any]]:
        """Every proposal; `deployed` says how it ended."""
        cards = self.client.rows("/api/proposals", {"all": 1})
        return [{**card, "deployed": card["state"] == "deployed"} for card in cards]

    def all_run(self) -> None:
        """Wait until all are up and nothing is left to do."""
        everybody = {*self.names, "alice", "manager"}
        self.settled(
            "the agents' start",
            lambda: (
                {name for name, row in self.rows().items() if row["phase"] == "running"} == everybody
                and bool(self.client.row("/api/wait", {"timeout": 5})["settled"])
            ),
        )

    def begin_turns(self) -> None:
        """Every agent is in the middle of a turn."""
        for name in self.names:
            self.client.post("/api/messages", {"to": name, "body": "work 1"})
        self.settled("the turns", lambda: all(self.rows()[name]["turn_since"] is not None for name in self.names))

    def begin_build(self) -> int:
        """alice's deploy is being built; its id."""
        self.commit("agent.nix", NIX.format(BUILD.replace("@time@", str(time.time_ns()))))
        id = int(self.json("propose", "alice")["id"])
        self.evaluated(id)
        self.client.post(f"/api/proposals/{id}/approve", query={"agent": "alice"})
        self.settled("the build", lambda: self.card("alice", id)["state"] == "building")
        return id

    def card(self, agent: str, id: int) -> dict[str, Any]:
        """The card of a proposal."""
        return next(card for card in self.cards() if (card["agent"], card["id"]) == (agent, id))

    def events(self) -> list[dict[str, Any]]:
        """Every event, oldest first."""
        return self.client.rows("/api/events", {"follow": 0, "limit": 1000})

    def inbox(self) -> Counter[tuple[str, str]]:
        """What agents sent to the operator."""
        rows = self.client.rows("/api/messages", {"limit": 2000})
        return Counter((row["from"], row["body"]) for row in rows if row["from"] in self.names)


class Watch:
    """Asks the daemon for its agents again and again, and sends messages: how long it does not answer."""

    def __init__(self, story: Upgrade) -> None:
        self._story = story
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._look, self._send)]
        self._seen = time.monotonic()
        self.longest = 0.0
        self.accepted = 0

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(LONG)

    def _look(self) -> None:
        client = self._story.connect()
        while not self._stopping.wait(0.01):
            try:
                client.row("/api/status")
            except HiveError:
                continue
            now = time.monotonic()
            self.longest, self._seen = max(self.longest, now - self._seen), now

    def _send(self) -> None:
        """A message to each in turn, again with the same key until it is accepted."""
        client, key = self._story.connect(), time.time_ns()
        while not self._stopping.wait(0.05):
            name = self._story.names[self.accepted % len(self._story.names)]
            note = f"note {self.accepted}"
            with contextlib.suppress(HiveError):
                client.post("/api/messages", {"to": name, "body": note, "key": f"{key} {note}"})
                self.accepted += 1


def switch(story: Upgrade, watch: Watch) -> float:
    """What a switch of the host does to services, in the middle of a turn. Seconds of `systemctl restart`."""
    old = story.main_pid
    story.begin_turns()
    began = time.monotonic()
    run("systemctl", "restart", *UNITS)
    took = time.monotonic() - began
    check(story.main_pid not in (0, old), "the daemon is the old one")
    accepted = watch.accepted
    story.settled("a message after the switch", lambda: watch.accepted > accepted)
    return took


def tell(story: Upgrade) -> None:
    """The whole story; raises Unexpected."""
    story.start()
    story.healthy("manager")
    story.spawn()
    older = older_conf(story.names[0])
    watch(story)
    check(conf_of(story.names[0]) == older, "the new daemon changed the conf of a container that runs")
    if len(story.names) > 2:
        absence(story)
        story.hive("rebuild", story.names[0], "--wait")
        check("--inaccessible=" in conf_of(story.names[0]), "a rebuild left the conf of the older hive")


def absence(story: Upgrade) -> None:
    """Turns end and begin while there is no daemon, as in a switch that takes long."""
    told, pids = story.inbox(), story.pids()
    story.begin_turns()
    run("systemctl", "stop", *UNITS)
    time.sleep(TURN + 1)
    story.start()
    expected = Counter((name, f"{word} 1") for name in story.names for word in ("begun", "worked"))
    story.settled("every answer", lambda: (story.inbox() - told).total() >= expected.total())
    came = story.inbox() - told
    check(came == expected, f"messages: missing {expected - came}, too many {came - expected}")
    check(story.pids() == pids, "an agent is another process")
    story.say("turns end while there is no daemon", "what they send comes with the next one, once")


def conf_of(name: str) -> str:
    """The conf file of a container."""
    return (ETC / f"{name}.conf").read_text(encoding="utf-8")


def older_conf(name: str) -> str:
    """Give a container that runs the conf file of a hive that hid nothing of nix."""
    written = conf.read_back(conf_of(name), Bounds())
    assert written.owner is not None
    assert written.settings is not None
    places = conf.Places(str(host.HOME / "state"), "/run/hyperhive")
    hidden = conf.HIDDEN
    try:
        setattr(conf, "HIDDEN", ())  # noqa: B010 - a stand-in
        text = conf.render(AgentName(name), conf.Conf(written.owner, written.settings, written.system), places)
    finally:
        setattr(conf, "HIDDEN", hidden)  # noqa: B010
    assert "--inaccessible=" not in text
    (ETC / f"{name}.conf").write_text(text, encoding="utf-8")
    return text


def watch(story: Upgrade) -> None:
    """Switch in the middle of everything, and count what came of it."""
    told, pids = story.inbox(), story.pids()
    first, last = leaders(pids), len(story.events())
    id = story.begin_build()
    run("systemctl", "daemon-reexec")
    run("systemctl", "daemon-reload")
    with Watch(story) as seen:
        took = switch(story, seen)
    expected = Counter((name, f"{word} 1") for name in story.names for word in ("begun", "worked"))
    expected.update((story.names[n % len(story.names)], f"noted {n}") for n in range(seen.accepted))
    story.settled("every answer", lambda: (story.inbox() - told).total() >= expected.total())
    came = story.inbox() - told
    check(came == expected, f"messages: missing {expected - came}, too many {came - expected}")
    check(story.pids() == pids and leaders(pids) == first, "an agent is another process")
    story.settled("the deploy", lambda: story.card("alice", id)["state"] not in ("approved", "building"))
    check(story.card("alice", id)["state"] == "deployed", f"{story.card('alice', id)}")
    harm = [event for event in story.events()[last:] if event["kind"] in HARM and event["agent"] != "alice"]
    check(not harm, f"{harm}")
    story.say("a switch", f"restart {took:.2f} s, without a daemon {seen.longest:.2f} s")
    story.say(
        f"{len(story.names)} agents in mid-turn, a build under way",
        f"turns killed 0, messages lost 0 of {expected.total()}, deployed/{id}",
    )


def leaders(pids: dict[str, int]) -> dict[str, str]:
    """The first process of each container, with the time of its start."""
    found = {}
    for name, pid in pids.items():
        child = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
        found[name] = f"{child} {Path(f'/proc/{child}/stat').read_text().rpartition(')')[2].split()[19]}"
    return found


def main() -> int:
    """Tell it."""
    with tempfile.TemporaryDirectory() as folder:
        story = Upgrade(Path(folder), int(sys.argv[1]))
        tell(story)
        run("systemctl", "stop", UNIT)
    return 0


if __name__ == "__main__":
    sys.exit(main())

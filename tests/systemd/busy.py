"""Ten agents that work on a systemd host with builder `nix`: turns, a build, and messages without a pause."""

from __future__ import annotations

import contextlib
import platform
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from api.cli.client import paths
from api.cli.client.http import Client
from meta.errors import HiveError
from tests.e2e.story import check
from tests.systemd.nixstory import NIX, NixStory

SETTINGS: dict[str, str | float] = {"health_deadline": 120, "health_stable": 0, "starts": 6, "reconnect_grace": 20}
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
LONG = 240.0


class Busy(NixStory):
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

    def __init__(self, story: Busy) -> None:
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

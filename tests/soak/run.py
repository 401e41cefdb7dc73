"""One soak: a real daemon with honest agents, a hostile one and disasters, all at once; then the accounting."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import closing as closed_after
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from meta.errors import HiveError
from tests.soak import remains, traffic
from tests.soak.accounting import Sample, decision_faults, growth_faults, message_faults, reply_faults
from tests.soak.agents import ANSWERING, ANSWERS, PROPOSED, SPAWNED, STEADY, TALKERS, command
from tests.soak.disasters import Disasters, place
from tests.soak.hostility import Hostility
from tests.soak.traffic import Book
from tests.support.lab import Lab

SETTINGS = {
    "HIVE_HEALTH_DEADLINE": "30",
    "HIVE_RECONNECT_GRACE": "15",
    "HIVE_CRASH_LIMIT": "1000000",
    "HIVE_CRASH_BACKOFF": "0.2",
    "HIVE_CRASH_BACKOFF_MAX": "1",
    "HIVE_RESYNC": "5",
    "HIVE_FINDS_PER_MINUTE": "60",
}
WITH_KILLS = 0.6
"""The part of the time in which the daemon is killed. The last one lives on: what it uses must stay as it was."""
SAMPLES = 0.5
"""Seconds between two looks at what the daemon uses."""
UNANSWERED = 60
"""Answers that a full disk may cost, of one sender: hive refuses them, and the script runtime does not try again."""
AT_REST = 16
"""Descriptors that a daemon may have open at rest beyond those of one that nobody was hostile to."""
DRAIN = 60.0
"""Seconds in which everything that was accepted must have come."""


@dataclass
class Outcome:
    """What a soak found. `counts` say how much happened."""

    seed: int
    faults: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)


def soak(seconds: float, seed: int) -> Outcome:
    """Run for about `seconds` seconds, then account for everything. The choices follow from `seed`."""
    outcome = Outcome(seed)
    with place("soak") as (directory, filler):
        lab = Lab(directory, SETTINGS, tiny=command)
        try:
            lab.start()
            lab.spawn(*SPAWNED)
            lab.deploy(ANSWERS, ANSWERING)
            before = {name: _process(lab, name) for name in STEADY}
            run = _Run(lab, outcome, Book(), before, len(remains.opened(lab.pid)))
            run.live(seconds, filler)
            run.account()
        finally:
            lab.kill()
            lab.end_agents()
        outcome.faults += remains.processes(lab) + remains.mounts(lab)
    return outcome


def _process(lab: Lab, name: str) -> tuple[int, int]:
    """The process of an agent, and how often it crashed."""
    row = lab.agent(name)
    return row["pid"], row["crashes"]


@dataclass
class _Run:
    """A hive that lives through a soak. `before` are the processes of the steady agents, `opened` is what the daemon
    has open before it begins.
    """

    lab: Lab
    outcome: Outcome
    book: Book
    before: dict[str, tuple[int, int]]
    opened: int
    closing: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)
    broken: threading.Event = field(default_factory=threading.Event)

    def live(self, seconds: float, filler: Path | None) -> None:
        """Let everything happen at once."""
        seed = self.outcome.seed
        hostile = Hostility(self.lab, random.Random(f"{seed} hostility"))
        disasters = Disasters(self.lab, filler, random.Random(f"{seed} disasters"), self.wait)
        makers, takers = [partial(hostile.run, self.closing)], []
        for name in TALKERS:
            choices = random.Random(f"{seed} send {name}"), random.Random(f"{seed} receive {name}")
            makers.append(partial(traffic.send, self.lab, name, self.book, choices[0], self.closing))
            takers.append(partial(traffic.receive, self.lab, name, self.book, choices[1], self.closed))
        proposing = random.Random(f"{seed} proposals")
        makers.append(partial(traffic.decide, self.lab, self.book, proposing, self.closing))
        making, taking = ([self.thread(each) for each in group] for group in (makers, takers))
        try:
            self.strike(disasters, seconds)
        except BaseException:
            self.broken.set()
            raise
        finally:
            self.closing.set()
            self.join(making)
            self.drain()
            self.closed.set()
            self.join(taking)
        self.outcome.counts += hostile.done + disasters.done

    def strike(self, disasters: Disasters, seconds: float) -> None:
        begun = time.monotonic()
        kills = True
        while (age := time.monotonic() - begun) < seconds and not self.broken.is_set():
            if kills and age >= seconds * WITH_KILLS:
                kills = False
                disasters.kill()
            disasters.strike(kills=kills)
            self.wait(disasters.choices.uniform(0.5, 3))

    def thread(self, target: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                target()
            except BaseException:  # noqa: BLE001 - reported as a fault
                self.outcome.faults.append(f"broken: {traceback.format_exc()}")
                self.broken.set()

        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        return thread

    def join(self, threads: list[threading.Thread]) -> None:
        for thread in threads:
            thread.join(DRAIN)
            if thread.is_alive():
                self.outcome.faults.append("broken: a thread of the soak does not end")

    def wait(self, seconds: float) -> None:
        """Look at what the daemon uses until `seconds` are over, or a thread of the soak failed."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self.broken.wait(min(SAMPLES, left)):
            if self.lab.has_daemon and (seen := remains.sample(self.lab.pid)) is not None:
                self.outcome.samples.append(seen)

    def drain(self) -> None:
        """Wait until no inbox of an honest agent has an unread message."""
        end = time.monotonic() + DRAIN
        while time.monotonic() < end and not self.broken.wait(SAMPLES):
            try:
                rows = self.lab.agents()
            except (HiveError, OSError):
                continue
            if not any(rows[name]["unread"] for name in (*TALKERS, ANSWERING)):
                break
        self.broken.wait(5)  # what was taken last is answered and acked

    # the accounting
    def account(self) -> None:
        """Compare what was done with what became of it, while the daemon lives and after its end."""
        lab, book = self.lab, self.book
        lab.settle()
        found = [fault for name in TALKERS for fault in message_faults(name, book.all_sent, book.steps[name])]
        full = sum(count for name, count in self.outcome.counts.items() if "full_disk" in name)
        found += reply_faults(ANSWERING, book.all_sent, book.all_answers, excused=UNANSWERED * full)
        cards = lab.get("/api/proposals", all=True, agent=PROPOSED, limit=1000)
        found += decision_faults(book.decisions, {card["id"]: card["state"] for card in cards})
        found += growth_faults(self.outcome.samples)
        if (now := len(remains.opened(lab.pid))) > self.opened + AT_REST:
            found.append(f"growth: {now} descriptors are open at rest, there were {self.opened}")
        found += [f"another process: {name} was {was} and is {now}" for name, was, now in self.changed()]
        found += [f"doctor: {row}" for row in remains.faults_of(lab, "doctor")]
        found += [f"audit: {row}" for row in remains.faults_of(lab, "audit", "verify")]
        found += remains.files(lab)
        if not remains.processes(lab):
            found.append("blind: the soak does not see the processes of a hive that runs")
        for name in (*SPAWNED, "manager"):
            lab.do(name, "stop", now=True)
        if (code := lab.stop()) != 0:
            found.append(f"the daemon ended with {code}")
        found += remains.processes(lab) + remains.pauses(lab) + self.damage()
        self.outcome.faults += found
        self.outcome.counts.update(self.counts())

    def changed(self) -> list[tuple[str, tuple[int, int], tuple[int, int]]]:
        """The steady agents that are another process than before, but the one that was deployed to."""
        now = {name: _process(self.lab, name) for name in STEADY}
        return [
            (name, was, now[name])
            for name, was in self.before.items()
            if (now[name][1] if name == PROPOSED else now[name]) != (was[1] if name == PROPOSED else was)
        ]

    def damage(self) -> list[str]:
        """What git and SQLite complain about."""
        found = []
        for repo in sorted(self.lab.layout.state.glob("*/**/.git")):
            if repo.is_relative_to(self.lab.layout.state / "proposed"):
                continue
            done = subprocess.run(
                ["git", f"--git-dir={repo}", "fsck", "--full", "--strict", "--no-dangling"],
                capture_output=True,
                text=True,
                timeout=120,
            )
            if done.returncode != 0 or done.stderr.strip():
                found.append(f"fsck: {repo}: {done.stdout}{done.stderr}"[:2000])
        with closed_after(sqlite3.connect(self.lab.layout.database)) as database:
            (word,) = database.execute("PRAGMA integrity_check").fetchone()
        return [*found, *([f"database: {word}"] if word != "ok" else [])]

    def counts(self) -> dict[str, int]:
        sent = self.book.all_sent
        return {
            "messages accepted": sum(each.accepted is True for each in sent),
            "messages refused": sum(each.accepted is False for each in sent),
            "messages unsure": sum(each.accepted is None for each in sent),
            "answers": len(self.book.all_answers),
            "decisions": len(self.book.decisions),
            **{f"refused: {words}": count for words, count in self.book.refusals.items() if count},
            "descriptors at rest before": self.opened,
            "daemons": len({each.daemon for each in self.outcome.samples}),
        }

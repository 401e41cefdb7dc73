"""The words in which the story of `make demo` is told: a hive in a temporary directory, and what a person types."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from meta.layout import Layout
from reconciler.network.process import running

T = TypeVar("T")
WAIT = 60.0
"""Seconds that any one thing of the story may take."""
SETTINGS = {
    "HIVE_HEALTH_DEADLINE": "3",
    "HIVE_HEALTH_STABLE": "0.2",
    "HIVE_CRASH_BACKOFF": "0.5",
    "HIVE_DRAIN_DEADLINE": "5",
    "HIVE_STOP_GRACE": "2",
    "HIVE_RECONNECT_GRACE": "5",
    "HIVE_RESYNC": "5",
}


class Unexpected(Exception):
    """A step is not as it should be."""


class Story:
    """A hive in a temporary directory, and the words for what happens to it."""

    has_the_hosts_agents = True
    """Its containers have the coding agents of the host."""

    def __init__(self, directory: Path, out: Callable[[str], None]) -> None:
        self.state = directory / "state"
        self.runtime = directory / "run"
        self.log = directory / "daemon.log"
        self.out = out
        self.daemon: subprocess.Popen[bytes] | None = None
        self.environment = {**os.environ, **SETTINGS, "HIVE_STATE": str(self.state), "HIVE_RUNTIME": str(self.runtime)}
        self.began = time.monotonic()

    # words
    def say(self, title: str, seen: str) -> None:
        """One line of the story."""
        self.out(f"  ok {time.monotonic() - self.began:5.1f} s  {title}: {seen}")

    def skip(self, title: str, reason: str) -> None:
        """One line about a chapter that is left out."""
        self.out(f"  -- {time.monotonic() - self.began:5.1f} s  {title}: {reason}")

    def hive(self, *words: str, fails: bool = False) -> str:
        """Run `hive` as a person would; what it printed."""
        command = [sys.executable, "-m", "api.cli.main", *words]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=WAIT, check=False, encoding="utf-8"
        )
        if (done.returncode != 0) != fails:
            raise Unexpected(f"hive {' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout if not fails else done.stderr

    def json(self, *words: str) -> Any:
        """Run `hive … --json`; the value."""
        return json.loads(self.hive(*words, "--json"))

    def until(self, what: str, look: Callable[[], T | None]) -> T:
        """Look again and again until there is something to see; at most WAIT seconds."""
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            seen = look()
            if seen is not None:
                return seen
            time.sleep(0.05)
        raise Unexpected(f"{what} did not happen within {WAIT:g} s")

    def tail(self) -> str:
        """The end of the daemon's log."""
        return "\n".join(self._log_lines()[-25:])

    def last_complaint(self) -> str:
        """The daemon's last warning or error: most often the cause of what did not happen."""
        lines = [line for line in self._log_lines() if re.search(r"\[(?:warning|error|critical) *\]", line)]
        return f"  the daemon's last warning: {lines[-1]}" if lines else "  the daemon warned of nothing"

    def _log_lines(self) -> list[str]:
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []

    def git(self, repo: Path, *words: str) -> str:
        """A git command in one of hive's own repos."""
        command = ["git", "--git-dir", str(repo), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=True).stdout.strip()

    # looking
    @property
    def layout(self) -> Layout:
        """Where this hive has its files and sockets."""
        return Layout(self.state, self.runtime)

    def agent(self, name: str) -> dict[str, Any]:
        """The agent's row of `hive status`."""
        for row in self.rows_of(name):
            return row
        raise Unexpected(f"hive status does not show {name}")

    def rows_of(self, name: str) -> list[dict[str, Any]]:
        """The agent's row of `hive status`, if it has one."""
        return [dict(row) for row in self.json("status")["agents"] if row["agent"] == name]

    def healthy(self, name: str) -> dict[str, Any]:
        """Wait until the agent is running and nothing is left to do for it."""

        def look() -> dict[str, Any] | None:
            rows = [row for row in self.json("plan") if row["agent"] == name]
            at_rest = bool(rows) and rows[0]["step"] == "none"
            if not at_rest:
                return None
            # an agent that meta does not have yet is at rest too, and in no status
            return next((row for row in self.rows_of(name) if row["phase"] == "running"), None)

        return self.until(f"{name} healthy", look)

    def applied(self, agent: str = "alice") -> Path:
        return self.state / "applied" / agent / ".git"

    def meta_commits(self) -> int:
        return int(self.git(self.state / "meta" / ".git", "rev-list", "--count", "main"))

    def tags(self) -> set[str]:
        return set(self.git(self.applied(), "tag").split())

    # doing
    def start(self) -> None:
        """Start the daemon and wait until it answers."""
        command = [sys.executable, "-m", "api.cli.main", "serve", "--state", str(self.state)]
        command += ["--runtime", str(self.runtime)]
        with self.log.open("ab") as log:
            # its own session: the terminal's Ctrl-C is for the story, which ends the daemon after the agents
            self.daemon = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

        def answers() -> bool | None:
            if self.daemon is not None and self.daemon.poll() is not None:
                raise Unexpected(f"the daemon ended with {self.daemon.returncode}")
            http = self.runtime / "http.sock"
            return True if http.exists() and self.quiet("list") else None

        self.until("the daemon answers", answers)

    def network(self, text: str) -> None:
        """Write the operator's file for the way out."""
        file = self.state / "network.toml"
        new = file.with_name("network.toml.new")
        new.write_text(text, encoding="utf-8")
        new.chmod(0o600)
        os.utime(new, (0, 0))  # one that was written a moment ago is not obeyed yet, and no person types that fast
        new.replace(file)

    def quiet(self, *words: str) -> bool:
        """Whether `hive` succeeds."""
        command = [sys.executable, "-m", "api.cli.main", *words]
        return subprocess.run(command, env=self.environment, capture_output=True, timeout=WAIT).returncode == 0

    @property
    def main_pid(self) -> int:
        """The daemon's; 0 when none runs."""
        return self.daemon.pid if self.daemon is not None else 0

    def end(self) -> None:
        """Stop the agents, the daemon and hive-egress."""
        if self.daemon is not None and self.daemon.poll() is None:
            for name in ("alice", "bob", "carol", "manager"):
                self.quiet("stop", name, "--now", "--wait")
            self.daemon.terminate()
            self.daemon.wait(WAIT)
        for which, _ in running(self.layout.egress_state):  # it outlives the daemon
            os.kill(which.pid, signal.SIGTERM)

    def reap(self) -> None:
        """Wait for the daemon after it was ended from outside."""
        if self.daemon is not None:
            self.daemon.wait(WAIT)

    def edit(self, text: str, agent: str = "alice") -> None:
        """Let the manager commit `text` as the agent's agent.toml, in its own work tree and its own sandbox."""
        head = self.state / "proposed" / agent / "config" / ".git" / "refs" / "heads" / "main"
        before = head.read_bytes() if head.exists() else b""
        self.hive("send", "manager", f"edit {agent} agent.toml\n{text}")
        self.until("the manager's commit", lambda: True if head.exists() and head.read_bytes() != before else None)

    def push(self, number: int, text: str) -> float:
        """Edit, then `git push` and no other word; seconds until the proposal `number` is there."""
        self.edit(text)
        tree = self.state / "proposed" / "alice" / "config"
        command = ["git", "-c", "safe.directory=*", "-C", str(tree), "push", "-q"]
        command += [str(self.state / "push" / "alice.git"), "HEAD:refs/heads/main"]
        subprocess.run(command, capture_output=True, timeout=WAIT, check=True)
        began = time.monotonic()
        (card,) = self.until("the card of what was pushed", lambda: self.json("pending") or None)
        if card["id"] != number or "push.git" not in card["source"]:
            raise Unexpected(f"expected proposal {number} to come from the push, got {card}")
        return time.monotonic() - began

    def propose(self, number: int, text: str) -> None:
        """Edit, propose; the id must be `number`."""
        self.edit(text)
        card = self.json("propose", "alice")
        if card["id"] != number or card["status"] != "pending":
            raise Unexpected(f"expected proposal {number} pending, got {card}")

    def ended(self, number: int) -> dict[str, Any]:
        """Wait until a proposal has ended."""

        def look() -> dict[str, Any] | None:
            cards = [card for card in self.json("pending", "--all") if card["id"] == number]
            return cards[0] if cards and cards[0]["state"] in ("deployed", "failed", "denied") else None

        return dict(self.until(f"the end of {number}", look))


def check(truth: bool, what: str) -> None:
    """A fact that the story depends on."""
    if not truth:
        raise Unexpected(what)

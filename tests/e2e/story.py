"""`make demo`: the main job, told against a real daemon with real agent processes in a temporary directory.

One line per step with what was seen; exit code 0 only if every step is as it should be.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
WAIT = 25.0
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
SECOND = 'label = "alice, the second"\n[[script]]\nwhen = "ping"\nreply = "pong, again"\n'
BROKEN = "runtime = 3\n"
MUTE = '[start]\nfault = "never-hello"\n'
UNWANTED = 'label = "alice, unwanted"\n'
SLOW = 'label = "alice, the third"\n[start]\ndelay = 1.0\n'


class Unexpected(Exception):
    """A step is not as it should be."""


class Story:
    """A hive in a temporary directory, and the words for what happens to it."""

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
        raise Unexpected(f"{what} did not happen within {WAIT:g} s\n{self.tail()}")

    def tail(self) -> str:
        """The end of the daemon's log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-25:])

    def git(self, repo: Path, *words: str) -> str:
        """A git command in one of hive's own repos."""
        command = ["git", "--git-dir", str(repo), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=True).stdout.strip()

    # looking
    def agent(self, name: str) -> dict[str, Any]:
        """The agent's row of `hive status`."""
        for row in self.json("status")["agents"]:
            if row["agent"] == name:
                return dict(row)
        raise Unexpected(f"hive status does not show {name}")

    def healthy(self, name: str) -> dict[str, Any]:
        """Wait until the agent is running and nothing is left to do for it."""

        def look() -> dict[str, Any] | None:
            rows = [row for row in self.json("plan") if row["agent"] == name]
            at_rest = bool(rows) and rows[0]["step"] == "none"
            row = self.agent(name) if at_rest else None
            return row if row and row["phase"] == "running" else None

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
            self.daemon = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

        def answers() -> bool | None:
            if self.daemon is not None and self.daemon.poll() is not None:
                raise Unexpected(f"the daemon ended with {self.daemon.returncode}\n{self.tail()}")
            http = self.runtime / "http.sock"
            return True if http.exists() and self.quiet("list") else None

        self.until("the daemon answers", answers)

    def quiet(self, *words: str) -> bool:
        """Whether `hive` succeeds."""
        command = [sys.executable, "-m", "api.cli.main", *words]
        return subprocess.run(command, env=self.environment, capture_output=True, timeout=WAIT).returncode == 0

    @property
    def main_pid(self) -> int:
        """The daemon's; 0 when none runs."""
        return self.daemon.pid if self.daemon is not None else 0

    def end(self) -> None:
        """Stop the agents and the daemon."""
        if self.daemon is not None and self.daemon.poll() is None:
            for name in ("alice", "manager"):
                self.quiet("stop", name, "--now", "--wait")
            self.daemon.terminate()
            self.daemon.wait(WAIT)

    def edit(self, text: str) -> None:
        """Let the manager commit `text` as alice's agent.toml, in its own work tree and its own sandbox."""
        head = self.state / "proposed" / "alice" / "config" / ".git" / "refs" / "heads" / "main"
        before = head.read_bytes() if head.exists() else b""
        self.hive("send", "manager", f"edit alice agent.toml\n{text}")
        self.until("the manager's commit", lambda: True if head.exists() and head.read_bytes() != before else None)

    def push(self, number: int, text: str) -> float:
        """Edit, then `git push` and no other word; seconds until the proposal `number` is there."""
        self.edit(text)
        proposed = self.state / "proposed" / "alice"
        command = ["git", "-c", "safe.directory=*", "-C", str(proposed / "config"), "push", "-q"]
        command += [str(proposed / "push.git"), "HEAD:refs/heads/main"]
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


def tell(story: Story) -> None:
    """The whole story."""
    first_chapter(story)
    approval(story)
    failures(story)
    crashes(story)
    story.healthy("manager")  # its harness may still be on its way back to the new daemon
    rows = story.json("plan")
    check(all(row["step"] == "none" for row in rows), f"the plan is not empty: {rows}")
    story.say("at the end", f"hive plan is empty, {len(rows)} agents are as desired")


def first_chapter(story: Story) -> None:
    story.start()
    story.say("a hive starts", f"daemon pid {story.main_pid}")
    manager = story.healthy("manager")
    story.say("the manager is healthy", f"phase {manager['phase']}, pid {manager['pid']}")
    story.hive("spawn", "alice")
    alice = story.healthy("alice")
    check("deployed/0" in story.tags(), "no tag deployed/0")
    story.say("alice is spawned", f"phase {alice['phase']}, pid {alice['pid']}, tag deployed/0")


def approval(story: Story) -> None:
    took = story.push(1, SECOND)
    story.say("a commit, and `git push` to alice's push.git", f"proposal 1 is pending after {took:.1f} s")
    check("1 waits for approval" in story.hive("plan"), "hive plan does not show the proposal")
    diff = story.hive("diff", "1")
    check("alice, the second" in diff, f"the diff does not show the change: {diff}")
    settings = story.json("diff", "1")["settings"]
    story.say(
        "`hive diff 1`", ", ".join(f"{key}: {before or 'unset'} -> {after}" for key, before, after in settings[:2])
    )
    before, commits = story.healthy("alice"), story.meta_commits()
    main = story.git(story.applied(), "rev-parse", "main")
    story.hive("approve", "1")
    story.ended(1)
    alice = story.healthy("alice")
    check(alice["generation"] != before["generation"], "alice still runs the old generation")
    check("deployed/1" in story.tags(), "no tag deployed/1")
    check(story.git(story.applied(), "rev-parse", "main") != main, "applied/main did not move")
    check(story.meta_commits() == commits + 1, f"meta has {story.meta_commits() - commits} new commits instead of one")
    story.say("approved", f"generation {alice['generation'][:12]}, deployed/1, applied/main moved, meta +1 commit")


def failures(story: Story) -> None:
    before = story.agent("alice")
    story.propose(2, BROKEN)
    story.hive("approve", "2")
    check(story.ended(2)["state"] == "failed", "2 did not fail")
    reason = story.git(story.applied(), "tag", "-l", "--format=%(contents)", "failed/2")
    check("runtime" in reason, f"the tag failed/2 does not name the key: {reason}")
    check(story.healthy("alice")["pid"] == before["pid"], "alice was touched")
    named = next((line.strip() for line in reason.splitlines() if "runtime" in line), "")
    story.say("one that does not build", f"failed/2 ({named}), alice untouched, pid {before['pid']}")

    story.propose(3, MUTE)
    story.hive("approve", "3")
    card = story.ended(3)
    check(card["state"] == "failed", "3 did not fail")
    after = story.healthy("alice")
    check(after["generation"] == before["generation"], "the old generation is not back")
    story.say("one that never becomes healthy", f"failed/3 ({card['note'].splitlines()[0]}), old generation is back")

    story.propose(4, UNWANTED)
    story.hive("deny", "4", "--reason", "we like her as she is")
    reason = story.git(story.applied(), "tag", "-l", "--format=%(contents)", "denied/4")
    check("we like her as she is" in reason, f"the tag denied/4 has no reason: {reason}")
    story.say("denied", "denied/4 with its reason")


def crashes(story: Story) -> None:
    before = story.healthy("alice")
    os.kill(before["pid"], signal.SIGKILL)
    after = story.until(
        "alice's restart",
        lambda: row if (row := story.agent("alice"))["pid"] not in (None, before["pid"]) else None,
    )
    crash = [event for event in story.json("events") if event["kind"] == "container_crash"]
    check(bool(crash), "no event container_crash")
    waited = crash[-1]["data"]["restart_in"]
    story.healthy("alice")
    story.say(
        "kill -9 of alice", f"noticed ({crash[-1]['data']['why']}), restarted after {waited:g} s, pid {after['pid']}"
    )

    story.propose(5, SLOW)
    old = story.healthy("alice")
    story.hive("approve", "5")
    row = story.until(
        "the new generation starts",
        lambda: row if (row := story.agent("alice"))["generation"] not in (None, old["generation"]) else None,
    )
    if story.daemon is not None:
        story.daemon.kill()
        story.daemon.wait()
    check(Path(f"/proc/{row['pid']}").exists(), "alice died with the daemon")
    story.say("kill -9 of the daemon in the middle of deploy 5", f"alice runs on, pid {row['pid']}")
    story.start()
    card = story.ended(5)
    check(card["state"] in ("deployed", "failed"), f"5 ended {card['state']}")
    alice = story.healthy("alice")
    story.say("the daemon is back", f"{card['state']}/5, alice {alice['phase']}, pid {alice['pid']}")
    text = story.hive("log")
    check(bool(re.search("alice", text)), "hive log does not show alice")


def main() -> int:
    """Tell it to the terminal."""
    with tempfile.TemporaryDirectory(prefix="hive-demo-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        story = Story(directory, out=lambda line: print(line, flush=True))  # noqa: T201 - this is what a demo does
        try:
            tell(story)
        except (Unexpected, subprocess.SubprocessError, OSError) as error:
            story.out(f"  FAILED  {error}")
            story.out(story.tail())
            return 1
        finally:
            story.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`make demo`: the main job, told against a real daemon with real agent processes in a temporary directory.

One line per step with what was seen; exit code 0 only if every step is as it should be.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from meta.errors import HiveError
from meta.process.trial import tried
from tests.e2e.interruption import Interrupted, end_processes, ignore_signals, interruptible
from tests.e2e.real_turn import programs, real_turn
from tests.e2e.talking import ALICE, BOB, talk
from tests.e2e.way_out import way_out
from tests.e2e.words import SETTINGS, WAIT, Story, Unexpected, check

__all__ = ["MUTE", "SETTINGS", "SLOW", "UNWANTED", "WAIT", "Story", "Unexpected", "check", "tell"]

SECOND = 'label = "alice, the second"\n[[script]]\nwhen = "ping"\nreply = "pong, again"\n' + ALICE
BROKEN = "runtime = 3\n"
MUTE = '[start]\nfault = "never-hello"\n'
UNWANTED = 'label = "alice, unwanted"\n'
SLOW = 'label = "alice, the third"\n[start]\ndelay = 1.0\n' + ALICE


def tell(story: Story) -> None:
    """The whole story."""
    story.environment |= programs()
    first_chapter(story)
    approval(story)
    story.hive("spawn", "bob")  # who is heard of later, and has the time till then to come up
    failures(story)
    crashes(story)
    story.healthy("manager")  # its harness may still be on its way back to the new daemon
    talk(story, 6)
    way_out(story, 7, BOB)
    real_turn(story)
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
    story.say("a commit, and `git push` to alice's push repo", f"proposal 1 is pending after {took:.1f} s")
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


def perform(story: Story, directory: Path) -> int:
    """Tell it, and leave no process behind, however it ends."""
    try:
        tell(story)
        story.end()
    except (Unexpected, subprocess.SubprocessError, OSError) as error:
        story.out(f"  FAILED  {error}")
        story.out(f"{story.last_complaint()}\n{story.tail()}")
        return 1
    finally:
        ignore_signals()
        end_processes(directory)
        story.reap()
    return 0


def main() -> int:
    """Tell it to the terminal. A signal ends it early, with the agents, the daemon and the temporary directory."""
    try:
        asyncio.run(tried())
    except HiveError as error:
        sys.stderr.write(f"hive: the demo needs the sandbox: {error.summary}\nhive: try: {error.hint}\n")
        return 1
    try:
        with interruptible(), tempfile.TemporaryDirectory(prefix="hive-demo-") as name:
            directory = Path(name)
            directory.chmod(0o755)
            return perform(Story(directory, out=lambda line: print(line, flush=True)), directory)  # noqa: T201
    except Interrupted as signalled:
        sys.stderr.write(f"  {signalled.name}: the demo is stopped, its agents and its daemon too\n")
        return signalled.code


if __name__ == "__main__":
    sys.exit(main())

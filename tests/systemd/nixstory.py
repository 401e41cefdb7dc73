"""The story where nix builds the systems: its words for a daemon that is a unit of the host, and its own chapters."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from typing_extensions import override

from tests.e2e import story as e2e
from tests.e2e.story import Unexpected, check
from tests.e2e.told_here import ToldHere
from tests.support.systemd import host, nixhost

ETC = Path("/etc/nixos-containers")
PROFILES = Path("/nix/var/nix/profiles/per-container")
RUNTIME = Path("/run/hyperhive")
UNIT = "hive.service"
SETTINGS: dict[str, str | float] = {
    **{key.removeprefix("HIVE_").lower(): float(value) for key, value in e2e.SETTINGS.items()},
    "resync": 60,
    "health_deadline": 5,
}
"""For the host. Nothing waits for the resync here: what is seen is what hive noticed by itself, or was asked for."""

OPEN_PORT = "networking.firewall.allowedTCPPorts = [ 8080 ];"
NIX = "{{ ... }}:\n{{\n  hive.agent.file = ./agent.toml;\n  {}\n}}\n"
WRONG = 'networking.hostNaame = "x";'
FAILS = f"""environment.systemPackages = [ (derivation {{
    name = "broken"; system = "{platform.machine()}-linux"; builder = "/bin/sh";
    args = [ "-c" "echo it is broken >&2; exit 1" ];
  }}) ];"""


def perform(story: e2e.Story, *chapters: Callable[[], object]) -> int:
    """Tell the chapters in the host, and end the story; 1 if one failed."""
    try:
        for chapter in chapters:
            chapter()
    except (e2e.Unexpected, subprocess.SubprocessError, OSError) as error:
        story.out(f"  FAILED  {error}")
        story.out(story.tail())
        return 1
    finally:
        story.end()
    return 0


class NixStory(ToldHere):
    """All is where a NixOS host has it."""

    def __init__(self, directory: Path, out: Callable[[str], None]) -> None:
        super().__init__(directory, out)
        self.state, self.runtime = host.HOME / "state", RUNTIME
        self.environment |= {"HIVE_STATE": str(self.state), "HIVE_RUNTIME": str(self.runtime)}

    # the daemon
    @override
    def start(self) -> None:
        run("systemctl", "start", UNIT)
        self.until("the daemon answers", self.answers)

    def answers(self) -> bool | None:
        """True when it does."""
        return True if (self.runtime / "http.sock").exists() and self.quiet("list") else None

    @property
    @override
    def main_pid(self) -> int:
        """The daemon's; 0 when none runs."""
        return int(run("systemctl", "show", "--property=MainPID", "--value", UNIT))

    @override
    def end(self) -> None:
        for name in ("alice", "manager"):
            self.quiet("stop", name, "--now", "--wait")
        run("systemctl", "stop", UNIT)

    @override
    def tail(self) -> str:
        return run("journalctl", "--no-pager", "--lines=40", "--output=cat", f"--unit={UNIT}", "--unit=hive-privileged")

    # looking
    def booted(self, agent: str) -> Path:
        """The system that the container's own systemd was started from."""
        leader = run("machinectl", "show", "--property=Leader", "--value", agent)
        return Path(f"/proc/{leader}/root/run/current-system").readlink()

    def profile(self, agent: str) -> Path:
        """What the container's profile is set to."""
        return (PROFILES / agent / "system").resolve()

    def planned(self, agent: str) -> dict[str, Any]:
        """The agent's row of `hive plan`."""
        return next(dict(row) for row in self.json("plan") if row["agent"] == agent)

    # doing
    def commit(self, file: str, text: str) -> None:
        """Let the manager commit a file of alice's, in its own container."""
        head = self.state / "proposed" / "alice" / "config" / ".git" / "refs" / "heads" / "main"
        before = head.read_bytes() if head.exists() else b""
        self.hive("send", "manager", f"edit alice {file}\n{text}")
        self.until("the manager's commit", lambda: True if head.exists() and head.read_bytes() != before else None)

    def propose_system(self, number: int, line: str) -> None:
        """Propose alice with this line in her agent.nix; the id must be `number`."""
        self.commit("agent.nix", NIX.format(line))
        card = self.json("propose", "alice")
        check(card["id"] == number and card["status"] == "pending", f"expected proposal {number} pending, got {card}")

        self.evaluated(number)

    @override
    def propose(self, number: int, text: str) -> None:
        super().propose(number, text)
        self.evaluated(number)

    def evaluated(self, number: int) -> None:
        """Wait until hive has said what a proposal would become."""

        def shown() -> bool | None:
            found = self.json("diff", str(number))
            return True if found["shown"] or found["complaint"] else None

        self.until("the preview", shown)


def run(*words: str) -> str:
    """A command of the host; its output."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=40)
    if done.returncode != 0:
        raise Unexpected(f"{' '.join(words)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()


def tell(story: NixStory) -> None:
    """The whole story."""
    e2e.first_chapter(story)
    served(story)
    systems(story)
    failures(story)
    drift(story)
    crashes(story)
    rollback(story)
    pushes(story)
    story.healthy("manager")
    rows = story.json("plan")
    check(all(row["step"] == "none" for row in rows), f"the plan is not empty: {rows}")
    story.say("at the end", f"hive plan is empty, {len(rows)} agents are as desired")


def served(story: NixStory) -> None:
    """The unit is the one of services.hive: an ordinary user without capabilities."""
    status = Path(f"/proc/{story.main_pid}/status").read_text().splitlines()
    found = {
        line.split(":")[0]: line.split()[1] for line in status if line.startswith(("Uid:", "CapBnd:", "NoNewPrivs:"))
    }
    check(found == {"Uid": str(nixhost.USER), "CapBnd": "0" * 16, "NoNewPrivs": "1"}, f"the daemon runs as {found}")
    story.say("the daemon is hive.service, as services.hive has it", "user hive, no capabilities")


def systems(story: NixStory) -> None:
    """lock, eval, build, profile."""
    first, before = story.profile("alice"), story.healthy("alice")
    check(str(first).startswith("/nix/store/"), f"the profile leads to {first}")
    check(story.booted("alice") == first, f"alice boots {story.booted('alice')}, not {first}")
    story.say("nix built her system, and it boots", str(first))
    story.propose_system(1, OPEN_PORT)
    diff = story.hive("diff", "1")
    check("+ open port tcp/8080" in diff, f"the diff does not show what the system gets: {diff}")
    story.say("a commit in her agent.nix, `hive propose alice`, `hive diff 1`", "+ open port tcp/8080")
    commits = story.meta_commits()
    story.hive("approve", "1", "--shown", story.json("diff", "1")["shown"])
    story.ended(1)
    alice = story.healthy("alice")
    check("deployed/1" in story.tags(), f"no tag deployed/1: {story.json('pending', '--all')}")
    check(alice["generation"] != before["generation"], "alice still runs the old generation")
    check(story.meta_commits() == commits + 1, "meta has not one commit more")
    new = story.profile("alice")
    check(new != first and story.booted("alice") == new, f"alice boots {story.booted('alice')}, not {new}")
    story.say("approved as shown", f"deployed/1, profile and container at {new.name}")


def failures(story: NixStory) -> None:
    """Each leaves alice as she was."""
    before, profile = story.agent("alice"), story.profile("alice")
    for number, line, words in ((2, WRONG, "hostNaame"), (3, FAILS, "it is broken")):
        story.propose_system(number, line)
        story.hive("approve", str(number))
        check(story.ended(number)["state"] == "failed", f"{number} did not fail")
        reason = story.git(story.applied(), "tag", "-l", "--format=%(contents)", f"failed/{number}")
        check(words in reason, f"the tag failed/{number} does not say why: {reason}")
        check(story.healthy("alice")["pid"] == before["pid"], "alice was touched")
        named = next(text.strip() for text in reason.splitlines() if words in text)
        what = "does not evaluate" if number == 2 else "has a builder that fails"
        story.say(f"one that {what}", f"failed/{number} ({named[:90]}), alice untouched, pid {before['pid']}")

    story.commit("agent.nix", NIX.format(OPEN_PORT))
    story.propose(4, e2e.MUTE)
    story.hive("approve", "4")
    card = story.ended(4)
    check(card["state"] == "failed", "4 did not fail")
    reason = story.git(story.applied(), "tag", "-l", "--format=%(contents)", "failed/4")
    check("hive-harness[" in reason.partition("its last lines:")[2], f"failed/4 has no tail of the log: {reason}")
    after = story.healthy("alice")
    check(after["generation"] == before["generation"], "the old generation is not back")
    check(story.profile("alice") == profile == story.booted("alice"), "profile or container are not back")
    story.say(
        "one that never becomes healthy", f"failed/4 ({card['note'].splitlines()[0]}), profile and system are back"
    )

    story.propose(5, e2e.UNWANTED)
    story.hive("deny", "5", "--reason", "we like her as she is")
    check("denied/5" in story.tags(), "no tag denied/5")
    story.say("denied", "denied/5 with its reason")


def drift(story: NixStory) -> None:
    """What somebody changes by hand is shown with its reason, and put back."""
    wanted, conf = story.profile("alice"), ETC / "alice.conf"
    other = story.profile("manager")

    def set_profile() -> None:
        run("nix-env", "-p", str(PROFILES / "alice" / "system"), "--set", str(other))

    def edit_conf() -> None:
        conf.write_text(conf.read_text().replace("PRIVATE_NETWORK=1", "PRIVATE_NETWORK=0"))

    for what, change in (("the profile set by hand", set_profile), ("the conf file edited by hand", edit_conf)):
        text = conf.read_text()
        change()
        row = story.planned("alice")
        check(row["step"] != "none" and bool(row["reason"]), f"hive plan does not show it: {row}")
        story.hive("reconcile", "alice", "--wait")
        story.healthy("alice")
        check(conf.read_text() == text, f"the conf file was not mended: {conf.read_text()}")
        check(story.profile("alice") == wanted == story.booted("alice"), "the profile was not put back")
        story.say(what, f"hive plan: {row['step']}, {row['reason']}; mended")


def crashes(story: NixStory) -> None:
    """kill -9 of the container, of the harness, and of the daemon in the middle of a deploy."""
    killed(story, "kill -9 of alice's container", story.healthy("alice")["pid"])
    killed(story, "kill -9 of the harness in it", harness(story.healthy("alice")["pid"]))

    story.propose(6, e2e.SLOW)
    old, daemon = story.healthy("alice"), story.main_pid
    story.hive("approve", "6")
    row = story.until(
        "the new generation starts",
        lambda: row if (row := story.agent("alice"))["generation"] not in (None, old["generation"]) else None,
    )
    os.kill(daemon, signal.SIGKILL)
    story.until("systemd starts the daemon again", lambda: True if story.main_pid not in (0, daemon) else None)
    check(Path(f"/proc/{row['pid']}").exists(), "alice died with the daemon")
    story.say("kill -9 of the daemon in the middle of deploy 6", f"alice runs on, pid {row['pid']}")
    story.until("the daemon answers", story.answers)
    card = story.ended(6)
    check(card["state"] == "deployed", f"6 ended {card['state']}: {card['note']}")
    alice = story.healthy("alice")
    check(story.booted("alice") == story.profile("alice"), "the profile is not what runs")
    story.say("systemd started it again", f"{card['state']}/6, alice {alice['phase']}, pid {alice['pid']}")
    check("alice" in story.hive("log"), "hive log does not show alice")


def rollback(story: NixStory) -> None:
    """Back to what was deployed before: the files of that, and the system that ran."""
    before = story.profile("alice")
    story.hive("rollback", "alice")
    card = story.ended(7)
    check(card["state"] == "deployed", f"7 ended {card['state']}: {card['note']}")
    old, new = (story.git(story.applied(), "rev-parse", f"deployed/{id}^{{tree}}") for id in (1, 7))
    check(old == new, f"deployed/7 has the files {new}, not {old} again")
    story.healthy("alice")
    check(story.profile("alice") == story.booted("alice") != before, "the older system is not back")
    story.say("hive rollback alice", f"deployed/7, profile and container at {story.profile('alice').name}")


def pushes(story: NixStory) -> None:
    """A real `git push` by another user: a member of the group hive gets a proposal, anybody else gets no further."""
    target = story.state / "push" / "alice.git"
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for user, uid in (("ada", nixhost.MEMBER), ("eve", nixhost.STRANGER)):
            home = folder / user
            home.mkdir()
            os.chown(home, uid, uid)
            for trusted in (target, story.applied()):
                git_as(user, home, "config", "--global", "--add", "safe.directory", str(trusted))
            git_as(user, home, "clone", "--quiet", str(story.applied()), "alice")
            (home / "alice" / "agent.toml").write_text(f'label = "pushed by {user}"\n', encoding="utf-8")
            git_as(user, home / "alice", "commit", "--quiet", "-a", "-m", f"a wish of {user}")
            try:
                git_as(user, home / "alice", "push", "--quiet", str(target), "HEAD:wish")
                pushed = True
            except Unexpected as error:
                check(user == "eve", f"ada cannot push: {error}")
                pushed = False
            check(pushed == (user == "ada"), f"{user} could push")

    def found() -> dict[str, Any] | None:
        waiting = story.json("pending")
        return dict(waiting[0]) if waiting else None

    card = story.until("the card of the push", found)
    check(card["description"].startswith("a wish of ada"), f"the card is {card}")
    story.hive("approve", str(card["id"]))
    check(story.ended(card["id"])["state"] == "deployed", "what was pushed is not deployed")
    story.say("git push as another user of the group hive", f"deployed/{card['id']}; without the group it is refused")


def git_as(user: str, folder: Path, *words: str) -> None:
    """git as that user, with the groups of /etc/group and a home of its own."""
    home = folder if folder.name == user else folder.parent
    identity = (f"GIT_AUTHOR_NAME={user}", f"GIT_AUTHOR_EMAIL={user}@x")
    committer = (f"GIT_COMMITTER_NAME={user}", f"GIT_COMMITTER_EMAIL={user}@x")
    as_user = ("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "env", f"HOME={home}")
    run(*as_user, *identity, *committer, "git", "-C", str(folder), *words)


def killed(story: NixStory, what: str, pid: int) -> None:
    """Kill, and see hive bring alice back."""
    before, crashes = story.agent("alice"), crash_count(story)
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    story.until("the crash is noticed", lambda: True if crash_count(story) > crashes else None)
    after = story.until(
        "alice's restart",
        lambda: row if (row := story.agent("alice"))["pid"] not in (None, before["pid"]) else None,
    )
    story.healthy("alice")
    seen = [event for event in story.json("events") if event["kind"] == "container_crash"][-1]["data"]
    took = time.monotonic() - began
    story.say(what, f"noticed ({seen['why']}), healthy again after {took:.1f} s, pid {after['pid']}")


def crash_count(story: NixStory) -> int:
    return sum(event["kind"] == "container_crash" for event in story.json("events"))


def harness(container: int) -> int:
    """The harness's process, below nspawn's and the container's systemd."""
    for leader in children(container):
        for pid in children(leader):
            if b"harness.cli" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
    raise Unexpected(f"no harness below {container}")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

"""Secrets where nix builds the systems and hive and its helper are the module's units: run inside of the host.

The files lie as sops-nix has them: on a file system of their own that is mounted while hive runs, behind a link that is
replaced at each rotation.
"""

from __future__ import annotations

import json
import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.e2e import story as e2e
from tests.e2e.story import check
from tests.systemd.nixstory import OPEN_PORT, NixStory, harness, perform, run
from tests.systemd.nixstory import SETTINGS as NIX_SETTINGS

NOTIFY = Path("/run/hive-notify")
SETTINGS: dict[str, str | float] = {**NIX_SETTINGS, "notify_file": str(NOTIFY), "retry_backoff_max": 1.0}
LIST = Path("/etc/hive/credentials.json")
FOLDER, LINK = Path("/run/secrets.d"), Path("/run/secrets")
ASKS = 'hive.agent.credentials = [ "token" ];'


def main() -> int:
    """Play it; print what went wrong."""
    NOTIFY.write_text("/bin/true of-hunter2\n")
    NOTIFY.chmod(0o400)
    with tempfile.TemporaryDirectory() as name:
        story = NixStory(Path(name), out=print)
        return perform(story, partial(e2e.first_chapter, story), partial(play, story))


def play(story: NixStory) -> None:
    """hive's own secret, then one of alice's: not given, given, rotated, missing."""
    own = variables(story.main_pid)["HIVE_NOTIFY_FILE"]
    check(own == "/run/credentials/hive.service/notify", f"the daemon reads {own}")
    check("sent to" in story.hive("attention", "--test-notify"), "nothing is notified")

    before = story.healthy("alice")
    story.propose_system(1, ASKS)
    story.hive("approve", "1")
    card = story.ended(1)
    check(card["state"] == "failed" and "needs the credential token" in card["note"], f"1 ended {card}")
    check(story.healthy("alice")["generation"] == before["generation"], "alice is not as before")

    run("mount", "-t", "tmpfs", "-o", "mode=751", "tmpfs", str(mounted()))
    rotate(1)
    LIST.write_text(json.dumps({"version": 1, "agents": {"alice": {"token": str(LINK / "alice")}}}))
    story.propose_system(2, f"{ASKS} {OPEN_PORT}")
    story.hive("approve", "2")
    check(story.ended(2)["state"] == "deployed", f"2 ended {story.ended(2)}")
    has(story, 1)
    rotate(2)
    story.hive("restart", "alice", "--wait")
    has(story, 2)

    (LINK / "alice").unlink()
    story.hive("restart", "alice")
    story.until(
        "hive names what is missing", lambda: "token of alice is missing" in str(story.planned("alice")) or None
    )
    rotate(3)
    has(story, 3)
    said = run("journalctl", "--no-pager")
    check("hunter2" not in said, "a secret is in the journal")


def mounted() -> Path:
    FOLDER.mkdir()
    return FOLDER


def rotate(number: int) -> None:
    """Make a new folder, and turn the link to it."""
    folder = FOLDER / str(number)
    folder.mkdir(mode=0o751)
    (folder / "alice").write_text(f"hunter2-{number}")
    (folder / "alice").chmod(0o400)
    fresh = LINK.with_name("secrets.new")
    fresh.symlink_to(folder)
    fresh.rename(LINK)


def has(story: NixStory, number: int) -> None:
    """The harness finds the secret of that rotation, in a file that is its own."""
    pid = harness(story.healthy("alice")["pid"])
    path = Path(f"/proc/{pid}/root{variables(pid)['CREDENTIALS_DIRECTORY']}/token")
    check(path.read_text() == f"hunter2-{number}", f"alice has {path.read_text()}")
    story.say("alice has her credential", f"rotation {number}, {path.stat().st_mode & 0o777:o}")


def variables(pid: int) -> dict[str, str]:
    words = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(word.split("=", 1) for word in words if word)


if __name__ == "__main__":
    sys.exit(main())

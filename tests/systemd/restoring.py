"""`hive rebuild` makes each deleted file of a container again: `python -m tests.systemd.restoring` in a systemd host.

The daemon looks by itself too seldom to do it, so that only the rebuild can. Beside it, an agent of an older hive is
migrated at the start, with a container that the older hive made.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from meta.layout import Layout
from meta.names import AgentName
from tests.e2e import words
from tests.e2e.story import check
from tests.support import older_layout
from tests.systemd.nixstory import perform
from tests.systemd.story import NixosStory, say

ETC = Path("/etc/nixos-containers")
UNITS = Path("/run/systemd/system")
ALICE, BOB = AgentName("alice"), AgentName("bob")
WAIT = ("--wait", "--timeout", "60")


def tell(story: NixosStory) -> None:
    """Migrate bob, then delete each of alice's files in turn."""
    layout = Layout(story.state, story.runtime)
    older_layout.make(layout, BOB)
    (ETC / "bob.conf").write_text(f"PRIVATE_NETWORK=1\nAUTO_START=0\nFLAKE={layout.applied(BOB)}#default\n")
    story.environment |= {"HIVE_RESYNC": "600", "HIVE_HEALTH_DEADLINE": "20"}
    story.start()
    bob = story.healthy("bob")
    check(bob["deployed"] == 0, f"bob runs {bob['deployed']}")
    conf = (ETC / "bob.conf").read_text()
    check(conf.startswith("# hive ") and "FLAKE" not in conf, f"its conf is {conf}")
    login = layout.agent_home(BOB) / ".claude/.credentials.json"
    check(login.read_text() == older_layout.LOGIN, "the login is another")
    check(login.stat().st_uid >= 524_288, f"the login belongs to {login.stat().st_uid}")
    story.say("an agent of an older hive", f"runs {conf.splitlines()[0]!r}, its login belongs to {login.stat().st_uid}")
    story.hive("spawn", "alice")
    story.healthy("alice")
    for what, (delete, path) in files(layout).items():
        check(path.exists(), f"{path} was never there")
        delete(path)
        story.hive("rebuild", "alice", *WAIT)
        check(path.exists(), f"hive rebuild does not make {path} again")
        check(story.healthy("alice")["deployed"] == 0, "alice runs something else")
        story.say(f"without its {what}", "hive rebuild brings it back")
    remote = (layout.proposed_config(ALICE) / ".git/config").read_text()
    check("/applied/alice/.git" in remote, f"the remote is not there: {remote}")


def files(layout: Layout) -> dict[str, tuple[Callable[[Path], object], Path]]:
    """What is deleted, by name: how, and where it is."""
    records = layout.backend("nixos") / "alice"
    return {
        "conf": (Path.unlink, ETC / "alice.conf"),
        "drop-in": (Path.unlink, UNITS / "container@alice.service.d/50-hive.conf"),
        "bound directory of sockets": (shutil.rmtree, layout.sockets(ALICE)),
        "bound home": (shutil.rmtree, layout.agent_home(ALICE)),
        "bound /state": (shutil.rmtree, layout.agent_state(ALICE)),
        "launch environment": (Path.unlink, layout.sockets(ALICE) / "launch.env"),
        "remote": (forget_remote, layout.proposed_config(ALICE) / ".git/config"),
        "records": (shutil.rmtree, records),
    }


def forget_remote(config: Path) -> None:
    """Delete the remote, and leave a configuration that git can read."""
    config.write_text("[core]\n\tbare = false\n\trepositoryformatversion = 0\n", encoding="ascii")


def main() -> int:
    """Tell it; what runs in the host."""
    words.WAIT = 90.0  # containers restart for each file, on a machine that may be busy
    with tempfile.TemporaryDirectory() as name:
        story = NixosStory(Path(name))
        return perform(story, partial(tell, story), partial(say, "every file came back"))


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())

"""The whole story with backend `nixos`: `python -m tests.systemd.story`, as root, on any Linux with systemd-nspawn.

It boots a systemd host of its own and tells the story inside of it: real units, containers, journal and root helper.
With `--builder nix` (the default where nix is installed) the daemon is a unit too, nix builds what boots, from a stub
of nixpkgs, and only nixos-container is a stand-in. With `--builder plain` systems and nix-env are stand-ins as well,
and the story is the one of tests/e2e.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from typing_extensions import override

from tests.e2e import story as e2e
from tests.e2e.told_here import ToldHere
from tests.support.systemd import host, nixhost
from tests.systemd import nixstory

RUNTIME = Path("/run/hyperhive")
SECONDS = 180.0


class NixosStory(ToldHere):
    """The story's words for a daemon with backend `nixos`."""

    has_the_hosts_agents = False

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, out=say)
        self.state, self.runtime = host.HOME / "state", RUNTIME
        self.environment |= {"HIVE_STATE": str(self.state), "HIVE_RUNTIME": str(self.runtime)}

    @override
    def start(self) -> None:
        command = [sys.executable, "-m", "tests.support.systemd.serve"]
        command += ["--state", str(self.state), "--runtime", str(self.runtime)]
        with self.log.open("ab") as log:
            self.daemon = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        self.until("the daemon answers", self._answers)

    def _answers(self) -> bool | None:
        if self.daemon is not None and self.daemon.poll() is not None:
            raise e2e.Unexpected(f"the daemon ended with {self.daemon.returncode}\n{self.tail()}")
        return True if (self.runtime / "http.sock").exists() and self.quiet("list") else None


def inside(builder: str) -> int:
    """Tell it; what runs in the host."""
    with tempfile.TemporaryDirectory() as name:
        nix = nixstory.NixStory(Path(name), out=say) if builder == "nix" else None
        story = nix or NixosStory(Path(name))
        tell = partial(nixstory.tell, nix) if nix is not None else partial(e2e.tell, story)
        return nixstory.perform(story, tell)


def say(line: str) -> None:
    """To the terminal."""
    print(line, flush=True)  # noqa: T201


def main() -> int:
    """Boot a host, tell the story in it, throw it away."""
    parser = argparse.ArgumentParser(description="hive's main job, told on a systemd host made for it")
    default = "plain" if nixhost.missing() else "nix"
    parser.add_argument("--builder", choices=("nix", "plain"), default=default, help="how systems are made")
    builder = parser.parse_args().builder
    if os.environ.get(host.INSIDE):
        return inside(builder)
    why = host.missing() or (nixhost.missing() if builder == "nix" else None)
    if why is not None:
        sys.stderr.write(f"{why}\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="hive-demo-", dir="/var/tmp") as name:
        programs = nixhost.programs() if builder == "nix" else None
        made = host.SystemdHost(Path(name), nixhost.Nix(programs, nixstory.SETTINGS) if programs else None)
        try:
            made.make()
            say(f"  a host with systemd is up after {made.boot():.1f} s; builder {builder}")
            return made.show([sys.executable, "-m", "tests.systemd.story", "--builder", builder], seconds=SECONDS)
        finally:
            made.remove()


if __name__ == "__main__":
    sys.exit(main())

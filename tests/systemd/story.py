"""The whole story with backend `nixos`: `python -m tests.systemd.story`, as root, on any Linux with systemd-nspawn.

It boots a systemd host of its own and tells the story of tests/e2e inside of it: real units, containers, journal and
root helper; stand-ins only for nix and nixos-container. What is different is said before it starts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from typing_extensions import override

from tests.e2e import story as e2e
from tests.support.systemd import host

RUNTIME = Path("/run/hyperhive")
SECONDS = 180.0


class NixosStory(e2e.Story):
    """The story's words for a daemon with backend `nixos`."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, out=lambda line: print(line, flush=True))  # noqa: T201
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


def inside() -> int:
    """Tell it; what runs in the host."""
    with tempfile.TemporaryDirectory() as name:
        story = NixosStory(Path(name))
        try:
            e2e.tell(story)
        except (e2e.Unexpected, subprocess.SubprocessError, OSError) as error:
            story.out(f"  FAILED  {error}")
            story.out(story.tail())
            return 1
        finally:
            story.end()
    return 0


def main() -> int:
    """Boot a host, tell the story in it, throw it away."""
    why = host.missing()
    if why is not None:
        sys.stderr.write(f"{why}\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="hive-demo-", dir="/var/tmp") as name:
        made = host.SystemdHost(Path(name))
        try:
            made.make()
            sys.stdout.write(f"  a host with systemd is up after {made.boot():.1f} s\n")
            sys.stdout.flush()
            return made.show([sys.executable, "-m", "tests.systemd.story"], seconds=SECONDS)
        finally:
            made.remove()


if __name__ == "__main__":
    sys.exit(inside() if os.environ.get(host.INSIDE) else main())

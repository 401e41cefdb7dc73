"""Disasters: the daemon is killed, the disk is full, an agent dies in mid-turn."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from meta.errors import HiveError
from tests.soak.agents import ANSWERING
from tests.support.lab import Lab, discard

DISK = "512m"


@contextlib.contextmanager
def place(name: str) -> Iterator[tuple[Path, Path | None]]:
    """Yield a directory for a hive and, if root may mount a small disk for it, the file that fills that disk."""
    directory = Path(f"/tmp/hive-{os.getpid()}-{name}")
    directory.mkdir(mode=0o755)
    mounted = os.geteuid() == 0 and not _mount(directory)
    try:
        inside = directory / "in"
        inside.mkdir(mode=0o755)
        yield inside, directory / "filler" if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", directory], check=True, timeout=10)
        discard(directory)


def _mount(directory: Path) -> int:
    options = f"size={DISK},mode=755"
    return subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, directory.name, directory], capture_output=True, timeout=10
    ).returncode


@dataclass
class Disasters:
    """The disasters of one run. `wait` passes the seconds between and within them. `done` counts them."""

    lab: Lab
    filler: Path | None
    choices: random.Random
    wait: Callable[[float], None]
    done: Counter[str] = field(default_factory=Counter)

    def strike(self, *, kills: bool) -> None:
        """Let one happen, of those without the death of the daemon if `kills` is False."""
        kinds: list[Callable[[], None]] = [self.agent_dies]
        kinds += [self.full_disk] if self.filler else []
        kinds += [self.kill, self.kill, self.stop] if kills else []
        kinds += [self.kill_with_full_disk] if kills and self.filler else []
        kind = self.choices.choice(kinds)
        self.done[kind.__name__] += 1
        kind()

    def kill(self) -> None:
        self.lab.kill()
        self.wait(self.choices.uniform(0, 0.5))
        self.lab.start()

    def stop(self) -> None:
        assert self.lab.stop() == 0, f"a daemon that is asked to end does so\n{self.lab.tail()}"
        self.lab.start()

    def agent_dies(self) -> None:
        """SIGKILL for the agent that answers: with luck in mid-turn."""
        with contextlib.suppress(HiveError, OSError, KeyError):
            if pid := self.lab.agent(ANSWERING)["pid"]:
                os.kill(pid, signal.SIGKILL)

    def full_disk(self) -> None:
        assert self.filler
        fill(self.filler)
        self.wait(self.choices.uniform(0.2, 2))
        self.filler.unlink()

    def kill_with_full_disk(self) -> None:
        """A daemon may refuse to start on a full disk; it comes up once there is room."""
        assert self.filler
        fill(self.filler)
        self.wait(self.choices.uniform(0, 0.5))
        self.lab.kill()
        up = self.lab.start(expect_ready=False)
        self.filler.unlink()
        if not up:
            self.lab.kill()
            self.lab.start()


def fill(filler: Path) -> None:
    """Leave not a byte."""
    with filler.open("wb", buffering=0) as file:
        end = time.monotonic() + 5
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while time.monotonic() < end:
                    file.write(b"x" * size)

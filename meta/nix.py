"""The one caller of the nix CLI. Everything here works with nix 2.8 and later, without daemon or network."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from meta.errors import BuildFailed, PermanentError
from meta.message import scrub
from meta.process import ProcessFailed, Recorder, run

NIX_CONFIG = "\n".join(
    (
        "experimental-features = nix-command flakes",
        "substituters =",  # empty: no look-up of a cache for each build
        "flake-registry =",  # empty: no download of the registry
        "accept-flake-config = false",
        "allow-import-from-derivation = false",
        "warn-dirty = false",
    )
)
"""Laid over the host's nix.conf for every command."""

_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_ERROR = re.compile(r"^\s*error:", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Nix:
    """A nix that was found. `recorder` notes its processes, so that a later daemon can end them."""

    program: Path
    recorder: Recorder | None = None

    async def version(self, deadline: float = 10) -> tuple[int, int, int]:
        """Like (2, 8, 0)."""
        said = (await run([self.program, "--version"], deadline=deadline, recorder=self.recorder)).text
        match = _VERSION.search(said)
        if match is None:
            raise PermanentError(f"{self.program} does not say its version: {said[:80]!r}", "is this nix?")
        return int(match[1]), int(match[2]), int(match[3] or 0)

    async def lock(self, flake_dir: Path, deadline: float) -> None:
        """Bring flake.lock in `flake_dir` (no git repo) up to date: only inputs that flake.nix moved are moved.

        BuildFailed with the end of what nix said; TransientError when the deadline (seconds) passed.
        """
        with tempfile.TemporaryDirectory(prefix="hive-nix-") as home:
            await self._run("nix", ["flake", "lock", f"path:{flake_dir}"], deadline, home)

    async def parse(self, file: Path, deadline: float = 10) -> None:
        """Check the syntax of a file, and that it names no undefined variable; evaluates nothing, needs no store.

        BuildFailed with nix's message.
        """
        with tempfile.TemporaryDirectory(prefix="hive-nix-") as home:
            await self._run("nix-instantiate", ["--store", "dummy://", "--parse", str(file)], deadline, home)

    async def _run(self, program: str, arguments: list[str], deadline: float, home: str) -> None:
        env: Mapping[str, str] = {"NIX_CONFIG": NIX_CONFIG, "HOME": home, "GIT_CONFIG_NOSYSTEM": "1"}
        path = self.program.with_name(program)
        try:
            await run([path, *arguments], deadline=deadline, recorder=self.recorder, env=env)
        except ProcessFailed as error:
            log = complaint(error.completed.stderr_tail)
            summary = next((line.strip() for line in log.splitlines() if line.strip()), "no message")
            raise BuildFailed(f"{program} {arguments[0]}: {summary[:300]}", "see the log", log) from error


def find(recorder: Recorder | None = None) -> Nix | None:
    """The nix on PATH; None when there is none."""
    program = shutil.which("nix")
    return Nix(Path(program), recorder) if program else None


def complaint(stderr: str) -> str:
    """The useful end of what nix wrote: from the last `error:` on (newer ones print a trace before it).

    Where that only says that `git` failed, what git itself said goes with it.
    """
    starts = [match.start() for match in _ERROR.finditer(stderr)]
    if not starts:
        return scrub(stderr).strip()
    end = stderr[starts[-1] :]
    said = [line for line in stderr[: starts[-1]].splitlines() if line.startswith("fatal: ")]
    return scrub("\n".join([end.strip(), *said[-3:]] if "program 'git' failed" in end else [end])).strip()

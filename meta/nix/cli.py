"""The nix commands. Each has a deadline and leaves no process. Untrusted files are evaluated only in the jail."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from meta.errors import BuildFailed, PermanentError, TransientError
from meta.nix import jail
from meta.nix.complaints import (
    MEMORY,
    build_complaint,
    evaluation_complaint,
    fetching,
    is_fetching,
    is_git,
    is_memory,
    is_read_only,
    passes,
    remedy,
    summary,
)
from meta.nix.jail import Evaluation
from meta.nix.store import Store, locate
from meta.process.child import OutputTooLarge
from meta.process.recorder import Recorder
from meta.process.run import Completed, ProcessTimeout, Streams, run
from meta.text import one_line, size

_ALWAYS = (
    "experimental-features = nix-command flakes",
    "flake-registry =",  # empty: no download of the registry
    "accept-flake-config = false",
    "allow-import-from-derivation = false",
    "allow-unsafe-native-code-during-evaluation = false",
    "warn-dirty = false",
)
NIX_CONFIG = "\n".join((*_ALWAYS, "substituters ="))
"""Settings on top of the host's nix.conf, for every command but builds. Builds may use the host's caches."""

BUILD_CONFIG = "\n".join((*_ALWAYS, f"max-build-log-size = {64 * 2**20}"))
SUMMARY_BYTES = 2**20
"""Bytes of JSON that an evaluation may write at most.

An agent's system has about 120 packages, 250 units and 150 files in /etc, at about 60 bytes each: less than 50 KiB.
That of a workstation has less than 200 KiB. A larger limit would only give a hostile module more of hive's time.
"""

OLDEST = (2, 4)
"""The first nix with flakes. hive is tested with 2.8, 2.26 and 2.34."""

_NO_NIX = "see which nix is first on PATH, or use --builder plain"
_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_TRANSIENT_HINT = "hive retries; check the disk and the nix daemon"


@dataclass(frozen=True, slots=True)
class Nix:
    """One nix installation. `recorder` records its processes, so that a later daemon can end them.

    `state` is hive's state directory, of which the jail shows no more than an evaluation needs.
    """

    program: Path
    recorder: Recorder | None = None
    store: Store = field(default_factory=Store)
    state: Path | None = None

    async def version(self, deadline: float = 10) -> tuple[int, int, int]:
        """Return a version like (2, 8, 0).

        Raise PermanentError if the program reports none within `deadline` seconds.
        """
        try:
            done = await run([self.program, "--version"], deadline=deadline, recorder=self.recorder, check=False)
        except ProcessTimeout as error:
            raise PermanentError(f"{self.program} does not report its version: {error.summary}", _NO_NIX) from error
        versions = _VERSION.findall(done.text) if done.code == 0 else []
        if not versions:
            output = one_line(done.text or done.stderr_tail, 80) or "nothing"
            raise PermanentError(f"{self.program} does not report its version, but: {output}", _NO_NIX)
        major, minor, patch = versions[-1]  # a derivative of nix prints its own version first
        return int(major), int(minor), int(patch or 0)

    async def require(self) -> None:
        """Raise PermanentError if this nix is too old for flakes."""
        version = await self.version()
        if version < OLDEST:
            raise PermanentError(
                f"{self.program} is nix {_dotted(version)}; builder nix needs {_dotted(OLDEST)} or newer, for flakes",
                "install a newer nix (on Debian 12 or newer: apt-get install nix-bin), or use --builder plain",
            )

    async def lock(self, flake_dir: Path, deadline: float) -> None:
        """Update flake.lock in `flake_dir` (not a git repo). Only inputs that changed in flake.nix move.

        Raise BuildFailed with the end of nix's messages; TransientError if the deadline (seconds) passed.
        """
        with tempfile.TemporaryDirectory(prefix="hive-nix-", dir=flake_dir.parent) as home:
            argv = [self._program("nix"), "flake", "lock", f"path:{flake_dir}"]
            done = await self._run(argv, Path(home), deadline)
        if done.code:
            _require_not_ended("nix flake lock", done.code)
            log = evaluation_complaint(done.stderr_tail)
            moved = await asyncio.to_thread(_moved, flake_dir)
            if is_git(log) and not is_fetching(log) and moved:
                log = "\n".join([log, *moved])
            raise _failure("nix flake lock", log, self.store, network=True)

    async def parse(self, file: Path, deadline: float = 10) -> None:
        """Check a file for syntax errors and undefined variables, without evaluation and without a store.

        Raise BuildFailed with nix's message.
        """
        with tempfile.TemporaryDirectory(prefix="hive-nix-", dir=file.parent) as home:
            argv = [self._program("nix-instantiate"), "--store", "dummy://", "--parse", str(file)]
            done = await self._run(argv, Path(home), deadline)
        if done.code:
            raise _failure("nix-instantiate --parse", evaluation_complaint(done.stderr_tail), self.store)

    async def derivation(self, evaluation: Evaluation, attribute: str, places: Mapping[str, str]) -> Path:
        """Evaluate the .drv of `attribute` in the jail. A second evaluation comes from nix's cache.

        Raise BuildFailed for a mistake of the author, or for too much time or memory. Raise TransientError for a
        failure of the host.
        """
        done = await self._evaluate(evaluation, ["path-info", "--derivation"], attribute, places)
        return Path(done.text.strip())

    async def evaluate(
        self, evaluation: Evaluation, attribute: str, places: Mapping[str, str], *, apply: str = ""
    ) -> bytes:
        """Evaluate `attribute` as JSON in the jail, or the function `apply` of it. Raise as `derivation` does."""
        words = ["eval", "--json", *(["--apply", apply] if apply else [])]
        return (await self._evaluate(evaluation, words, attribute, places)).stdout

    async def realise(
        self,
        derivation: Path,
        link: Path,
        home: Path,
        deadline: float,
        *,
        repair: bool = False,
        isolated: bool = True,
        places: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Path:
        """Build a .drv without evaluation; make `link` a gc root of its output, and return the output.

        `on_line` gets the builders' output. Without `isolated` the build runs without bubblewrap. Raise BuildFailed,
        also at the deadline (seconds). Raise TransientError for a failure of the host.
        """
        await asyncio.to_thread(jail.prepare, home, (), None)
        words = [*(["--repair"] if repair else []), "--realise", str(derivation), "--indirect", "--add-root", str(link)]
        env = self._environment(jail.variables(home), BUILD_CONFIG)
        argv: Sequence[str | Path] = [self._program("nix-store"), *words]
        if isolated:
            argv = jail.build_command(self.store, home, link.parent, env, argv, self.state)
        try:
            done = await run(
                argv, deadline=deadline, recorder=self.recorder, env=env, streams=Streams(on_line=on_line), check=False
            )
        except ProcessTimeout as error:
            text = evaluation_complaint(error.hint, places)
            raise BuildFailed(
                f"the build did not end within {deadline:g} s", "make it smaller", text, bound=True
            ) from error
        if done.code:
            _require_not_ended("build", done.code)
            raise _failure("build", build_complaint(done.stderr_tail, places), self.store, network=True)
        return await asyncio.to_thread(link.readlink)

    async def is_whole(self, path: Path, home: Path, deadline: float = 60) -> bool:
        """Return True if a store path exists and its content is the registered one."""
        done = await self._run([self._program("nix-store"), "--verify-path", str(path)], home, deadline)
        return done.code == 0

    async def _evaluate(
        self, evaluation: Evaluation, words: Sequence[str], attribute: str, places: Mapping[str, str]
    ) -> Completed:
        uid = evaluation.user(self.store) if evaluation.isolated else None
        await asyncio.to_thread(jail.prepare, evaluation.home, evaluation.visible, uid)
        argv: Sequence[str | Path] = [
            *(self._program("nix"), *words, "--no-update-lock-file", "--no-write-lock-file"),
            f"{evaluation.flake}#{attribute}",
        ]
        env = self._environment(jail.variables(evaluation.home), NIX_CONFIG)
        if evaluation.isolated:
            argv = jail.evaluation_command(evaluation, self.store, env, argv, self.state)
        limits = {resource.RLIMIT_AS: evaluation.memory, resource.RLIMIT_CORE: 0}
        try:
            done = await run(
                argv,
                deadline=evaluation.deadline,
                recorder=self.recorder,
                env=env,
                limits=limits,
                streams=Streams(output_limit=SUMMARY_BYTES),
                check=False,
            )
        except ProcessTimeout as error:
            summary = f"the evaluation did not end within {evaluation.deadline:g} s"
            raise BuildFailed(summary, "look for a list or a recursion without end", summary, bound=True) from error
        except OutputTooLarge as error:
            summary = f"the system is too large to be shown: its summary has more than {size(SUMMARY_BYTES)}"
            raise BuildFailed(
                summary, "look for generated lists of packages, units, users or files in agent.nix"
            ) from error
        if done.code == 0:
            return done
        _require_not_ended("evaluation", done.code)
        if is_memory(done.stderr_tail) or done.code < 0 or done.code > 128:
            summary = f"{MEMORY} ({evaluation.memory // 2**20} MiB)"
            raise BuildFailed(summary, "look for a list or a text without end", summary, bound=True)
        raise _failure("evaluation", evaluation_complaint(done.stderr_tail, places), self.store)

    async def _run(self, argv: Sequence[str | Path], home: Path, deadline: float) -> Completed:
        await asyncio.to_thread(jail.prepare, home, (), None)
        env = self._environment(jail.variables(home), NIX_CONFIG)
        return await run(argv, deadline=deadline, recorder=self.recorder, env=env, check=False)

    def _program(self, name: str) -> str:
        return str(self.program.with_name(name))

    def _environment(self, extra: Mapping[str, str], config: str) -> dict[str, str]:
        return {**dict(self.store.environment), **extra, "NIX_CONFIG": config}


def find(recorder: Recorder | None = None, state: Path | None = None) -> Nix | None:
    """Return the nix on PATH with the store of this process's environment; None if there is none."""
    program = shutil.which("nix")
    return Nix(Path(program), recorder, locate(os.environ), state) if program else None


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _moved(flake_dir: Path) -> list[str]:
    """Return the inputs that a lock had to fetch, worded as newer versions do. nix 2.8 does not report them."""
    try:
        lock = (flake_dir / "flake.lock").read_text(encoding="utf-8")
    except OSError:
        lock = ""
    return fetching((flake_dir / "flake.nix").read_text(encoding="utf-8"), lock)


def _require_not_ended(what: str, code: int) -> None:
    """Raise TransientError if a signal ended nix that no limit sends: the host goes down, or a person sent it."""
    if any(code in (-number, 128 + number) for number in _ENDING):
        raise TransientError(f"{what}: nix was ended by a signal", "hive retries")


def _failure(what: str, log: str, store: Store, *, network: bool = False) -> BuildFailed | TransientError:
    text, full = f"{what}: {summary(log)}", _is_full(store)
    if passes(log, network=network) or ("No space left on device" in log and full):
        return TransientError(text, _transient_hint(log, store, full))
    return BuildFailed(text, remedy(log, str(store.store)), log)


def _transient_hint(log: str, store: Store, full: bool) -> str:
    if full:
        return f"free space on the disk of {store.store}; hive then retries"
    if is_read_only(log):
        return f"the disk of {store.store} is read-only: see `dmesg`, mend or remount it; hive then retries"
    return _TRANSIENT_HINT


def _is_full(store: Store) -> bool:
    for path in (store.store, store.state):
        try:
            disk = os.statvfs(path)
        except OSError:
            continue
        if disk.f_bavail * disk.f_frsize < 64 * 2**20 or (disk.f_files > 0 and disk.f_favail < 1000):
            return True
    return False

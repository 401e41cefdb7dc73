"""The program in the forked process of a lab: `hive serve`, with the harness and the host of the lab."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from meta.approval import Binding
from meta.layout import Layout
from meta.names import AgentName
from meta.nix.summary import Summary
from reconciler.backends.local.backend import Command, harness_command
from reconciler.builders.base import BuildRequest, Preview
from reconciler.builders.plain import PlainBuilder
from reconciler.plan.observed import Launch

PAUSE = 0.25
"""Seconds of CPU that one callback of the daemon's loop may take. None is known that takes a third of it."""
TINY = (Path(__file__).parent / "tiny_harness.py").read_text(encoding="utf-8")
FILLING = (Path(__file__).parent / "filling_harness.py").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Serving:
    """The options of a lab for its daemon; see Lab."""

    directory: Path
    environment: dict[str, str]
    failpoint: str
    backend: str
    builder: str
    nix: bool
    previews: bool
    command: Command | None


def serve_here(wanted: Serving) -> None:
    """Be `hive serve`. Runs in the child."""
    os.setsid()
    log = os.open(wanted.directory / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(wanted.environment)
    from api.cli.commands.serve import exit_code
    from api.daemon.serve import ServeOptions, serve
    from meta.process import failpoint as failpoints
    from reconciler.backends.local.backend import LocalBackend
    from reconciler.daemon import choices

    failpoints.arm(wanted.failpoint)

    def arm(*_: object) -> None:
        failpoints.arm((wanted.directory / "failpoint").read_text(encoding="ascii"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as answer:
            answer.sendto(b"armed", str(wanted.directory / "armed"))

    signal.signal(signal.SIGUSR2, arm)
    watch_callbacks(wanted.directory / "pauses")
    if wanted.command is not None:
        setattr(choices, "LocalBackend", partial(LocalBackend, command=wanted.command))  # noqa: B010 - a stand-in
    if wanted.previews:
        setattr(choices, "PlainBuilder", _previewing(PlainBuilder))  # noqa: B010 - a stand-in
    if not wanted.nix:
        setattr(choices, "find_nix", lambda _recorder: None)  # noqa: B010 - as on a host without nix
    options = ServeOptions(
        wanted.directory / "s", wanted.directory / "r", backend=wanted.backend, builder=wanted.builder
    )
    os._exit(exit_code(asyncio.run(serve(options))))


def watch_callbacks(report: Path) -> None:
    """From now on write a line to `report` for each callback of the loop that works for longer than PAUSE.

    What counts is the time of the thread: on a busy machine a callback also waits for a processor or for the disk.
    """
    run = asyncio.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        begun = time.thread_time()
        run(handle)
        worked = time.thread_time() - begun
        if worked > PAUSE:
            with report.open("a", encoding="utf-8") as file:
                file.write(f"{worked:.3f} s in {handle!r}\n")

    setattr(asyncio.Handle, "_run", measured)  # noqa: B010 - asyncio has no hook


def _previewing(plain: type[PlainBuilder]) -> type[PlainBuilder]:
    """Return a builder `plain` that shows the settings before an approval, as builder `nix` shows the system."""

    class Previewing(plain):  # type: ignore[misc, valid-type]
        previews = True

        async def shown(self, request: BuildRequest) -> Binding:
            return Binding(request.sha, "", "", "", request.settings.fingerprint())

        async def preview(self, request: BuildRequest) -> Preview:
            return Preview(await self.shown(request), Summary())

    return Previewing


def tiny_command(_agent: AgentName, _launch: Launch) -> Sequence[str]:
    return (sys.executable, "-I", "-S", "-c", TINY)


def filling_command(_agent: AgentName, _launch: Launch) -> Sequence[str]:
    return (sys.executable, "-I", "-S", "-c", f"{FILLING}\n{TINY}")


def command_for(layout: Layout, agent: AgentName, launch: Launch) -> Sequence[str]:
    """Return the command of the real harness for a generation that misbehaves."""
    settings = layout.generation(agent, launch.generation) / "tree" / "agent.toml"
    real = "[start]" in settings.read_text(encoding="utf-8")
    return harness_command(agent, launch) if real else tiny_command(agent, launch)

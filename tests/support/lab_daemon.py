"""What runs in the forked process of a lab: `hive serve`, with the harness and the host that the lab wants."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from meta.layout import Layout
from meta.names import AgentName
from reconciler.backends.local import Command, harness_command
from reconciler.observed import Launch

TINY = (Path(__file__).parent / "tiny_harness.py").read_text(encoding="utf-8")


def serve_here(
    directory: str,
    environment: dict[str, str],
    failpoint: str,
    backend: str,
    nix: bool,
    command: Command | None,
) -> None:
    """In the child: be `hive serve`."""
    os.setsid()
    log = os.open(Path(directory) / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(environment)
    from api.serve import ServeOptions, serve
    from meta import failpoint as failpoints
    from reconciler import daemon
    from reconciler.backends.local import LocalBackend

    failpoints.arm(failpoint)

    def arm(*_: object) -> None:
        failpoints.arm((Path(directory) / "failpoint").read_text(encoding="ascii"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as answer:
            answer.sendto(b"armed", str(Path(directory) / "armed"))

    signal.signal(signal.SIGUSR2, arm)
    if command is not None:
        setattr(daemon, "LocalBackend", partial(LocalBackend, command=command))  # noqa: B010 - a stand-in
    if not nix:
        setattr(daemon, "find_nix", lambda _recorder: None)  # noqa: B010 - as on a host without nix
    base = Path(directory)
    code = asyncio.run(serve(ServeOptions(base / "s", base / "r", backend=backend)))
    os._exit(code)


def tiny_command(_agent: AgentName, _launch: Launch) -> Sequence[str]:
    return (sys.executable, "-I", "-S", "-c", TINY)


def command_for(layout: Layout, agent: AgentName, launch: Launch) -> Sequence[str]:
    """The real harness for a generation that misbehaves."""
    settings = layout.generation(agent, launch.generation) / "tree" / "agent.toml"
    real = "[start]" in settings.read_text(encoding="utf-8")
    return harness_command(agent, launch) if real else tiny_command(agent, launch)

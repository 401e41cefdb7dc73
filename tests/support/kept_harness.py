"""A stand-in for a harness with sub-agents. `keep` as the first word: run the other ones under a keeper.

It writes `harness PID` at its start, obeys words on stdin, and writes what it started:

    pod         a sub-agent that ends at TERM, and leaves a process behind
    stubborn    one that ignores TERM
    cli         what a CLI leaves behind: it leads a session and says that it is a sub-agent
    bare        the same with an empty environment
    sweep       end what CLIs left, as after the end of a turn
    exit CODE   end
    serve       be a real harness from now on
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from types import FrameType

from harness.descendants import orphans
from harness.keeper import program
from harness.keeper.client import keeper
from meta.process.spawn import spawn

NULL = (os.open(os.devnull, os.O_RDWR),) * 3
POD = ("sh", "-c", "setsid sleep 3600 & exec sleep 3600")
STUBBORN = ("sh", "-c", "trap '' TERM; exec sleep 3600")
LEFT = ("sh", "-c", "setsid sleep 3600 & echo $!")


def main(words: list[str]) -> int:
    """Run the stand-in, or a keeper of it."""
    if words == ["keep"]:
        program.POD_SECONDS = 0.3
        return program.main((sys.executable, *sys.orig_argv[1:-1]), os.environ)
    signal.signal(signal.SIGTERM, leave)
    keeper.join(os.environ, main=True)
    orphans.adopt_everything()
    say("harness", os.getpid())
    while line := sys.stdin.readline():
        obey(*line.split())
    return 0


def obey(word: str, rest: str = "") -> None:
    """Do what one line says."""
    match word:
        case "pod" | "stubborn":
            start_pod(STUBBORN if word == "stubborn" else POD)
        case "cli":
            leave_behind({"HIVE_POD": "forged", **keeper.variables})
        case "bare":
            leave_behind({})
        case "sweep":
            cli = spawn(("true",), {"PATH": os.environ["PATH"]}, None, NULL)
            say("left", asyncio.run(orphans.sweep(cli.pid, "none")))
            cli.wait()
        case "exit":
            os._exit(int(rest))
        case "serve":
            from harness.cli import main as serve

            sys.argv = ["hive-harness", "serve"]
            os._exit(serve())


def start_pod(argv: tuple[str, ...]) -> None:
    """Start a sub-agent as the harness does."""
    pod = spawn(argv, {"PATH": os.environ["PATH"], **keeper.variables}, None, NULL, keeper.fds)
    keeper.keep(pod.pid)
    say("pod", pod.pid)


def leave_behind(env: Mapping[str, str]) -> None:
    """Start a shell that ends, and leave its child in a session of its own."""
    read, write = os.pipe()
    shell = spawn(LEFT, {"PATH": os.environ["PATH"], **env}, None, (NULL[0], write, NULL[0]))
    os.close(write)
    shell.wait()
    say("cli", int(os.read(read, 100)))


def leave(_number: int, _frame: FrameType | None) -> None:
    """End at TERM."""
    os._exit(0)


def say(word: str, number: int) -> None:
    """Write one line for the test."""
    os.write(1, f"{word} {number}\n".encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

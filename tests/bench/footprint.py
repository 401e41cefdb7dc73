"""What a harness costs beside its CLI. `python -m tests.bench.footprint [SECONDS]`, SECONDS of each idle window.

start     `hive-harness serve` against a socket that takes its hello, beside a Python with asyncio and pydantic
memory    of a harness that has done a turn of the real claude; the CLI's for comparison
idle      CPU of that harness with its CLI
twenty    agents, each idle with a CLI, in total
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from meta.config import Config
from tests.bench.figure import Figure, figure
from tests.support.fake_messages_api import FakeMessages
from tests.support.lab import Lab, fresh_lab
from tests.support.real_agents import CLAUDE, SETTINGS, TOML, Model, cli_of, harness_of, send_message, spawn

STARTS = 15
FLOOR = "import asyncio, pydantic\nclass Model(pydantic.BaseModel):\n    number: int"
IDLE = 20.0
"""Seconds of a window, in `make bench`. The issue's own figure is over 120: `python -m tests.bench.footprint 120`."""
AGENTS = 20
SECONDS = 120.0
LAB = {**SETTINGS, "HIVE_HEALTH_DEADLINE": "120", "HIVE_RESYNC": str(Config().resync)}


def measure(idle: float = IDLE) -> Iterator[Figure]:
    """The start, then a hive with one agent, then with AGENTS."""
    yield from starts()
    if not CLAUDE.exists():
        return
    with fresh_lab("f", LAB, tiny=False) as lab, FakeMessages() as fake:
        model = Model(lab, fake)
        wake(lab, model, "a0")
        harness, cli = harness_of(lab, "a0"), cli_of(lab, "a0")
        yield figure(
            "a harness beside its CLI: memory (RSS)", "MB", [resident(harness)], floor=[resident(cli)], at_most=60
        )
        share, beside = shares([harness, cli], idle)
        yield figure("an idle harness: CPU of one core", "%", [share], floor=[beside], at_most=0.3)
        names = [f"a{number}" for number in range(1, AGENTS)]
        wake(lab, model, *names)
        harnesses = [harness_of(lab, name) for name in ("a0", *names)]
        clis = [cli_of(lab, name) for name in ("a0", *names)]
        what = f"{AGENTS} idle agents, harnesses beside CLIs"
        yield figure(
            f"{what}: memory (PSS)", "MB", [sum(map(proportional, harnesses))], floor=[sum(map(proportional, clis))]
        )
        each = shares([*harnesses, *clis, lab.pid], idle)
        yield figure(f"{what}: CPU of one core", "%", [sum(each[:AGENTS])], floor=[sum(each[AGENTS:-1])], at_most=6.0)
        yield figure(f"the daemon of {AGENTS} idle agents: CPU of one core", "%", [each[-1]])


def starts() -> Iterator[Figure]:
    """From the start of the process to its first line on the link; the wall's time, and its CPU."""
    wall, spending, floor, floor_spending = [], [], [], []
    with tempfile.TemporaryDirectory(prefix="hive-b-") as folder:
        directory = Path(folder)
        (directory / "agent.toml").write_text(TOML, encoding="utf-8")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(directory / "harness.sock"))
            listener.listen()
            for _ in range(STARTS):
                took, spent = to_hello(listener, directory)
                wall.append(took)
                spending.append(spent)
                took, spent = to_end([sys.executable, "-c", FLOOR])
                floor.append(took)
                floor_spending.append(spent)
    name = "start of the harness to its hello"
    yield figure(name, "ms", wall, floor=floor, at_most=500)
    yield figure(f"{name}, by CPU time", "ms", spending, floor=floor_spending, at_most=500)


def to_hello(listener: socket.socket, directory: Path) -> tuple[float, float]:
    """Return the milliseconds until the hello, and those of CPU."""
    environment = {
        "PATH": os.environ["PATH"],
        "HIVE_AGENT": "alice",
        "HIVE_CONFIG": str(directory),
        "HIVE_RUN": str(directory),
        "HIVE_STATE": str(directory / "state"),
    }
    program = [str(Path(sys.executable).parent / "hive-harness"), "serve"]
    began = time.perf_counter()
    with subprocess.Popen(program, env=environment, stdout=subprocess.DEVNULL) as process:
        connection, _ = listener.accept()
        with connection:
            assert b'"hello"' in connection.recv(4096)
            took, spent = time.perf_counter() - began, cpu(process.pid)
            process.kill()
    return took * 1_000, spent * 1_000


def to_end(argv: list[str]) -> tuple[float, float]:
    """Return the milliseconds of a program that ends by itself, and those of CPU."""
    began, before = time.perf_counter(), os.times()
    subprocess.run(argv, timeout=30, check=True)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return (time.perf_counter() - began) * 1_000, spent * 1_000


def wake(lab: Lab, model: Model, *names: str) -> None:
    """Spawn agents, and have each do a turn, so that each has a CLI."""
    for name in names:  # one after the other, so that none is late for its gate on a small machine
        spawn(lab, name)
        model.attach(name)
        send_message(lab, name, f"hello {name}")
        lab.until(lambda name=name: model.turns(f"hello {name}"), SECONDS)  # type: ignore[misc]
        lab.until(lambda name=name: lab.agent(name)["turn"] == "idle", SECONDS)  # type: ignore[misc]


def shares(pids: list[int], seconds: float) -> list[float]:
    """Return the percent of a core that each process uses in so many seconds."""
    before, began = [cpu(pid) for pid in pids], time.perf_counter()
    time.sleep(seconds)
    after, took = [cpu(pid) for pid in pids], time.perf_counter() - began
    return [(late - early) / took * 100 for early, late in zip(before, after, strict=True)]


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process, by its clock (clock_getcpuclockid(3)). Threads that ended count too."""
    return time.clock_gettime((~pid << 3) | 2)


def resident(pid: int) -> float:
    """Return the resident memory in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def proportional(pid: int) -> float:
    """Return the memory in MB, of shared pages only this process's share."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return next(float(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1e3


if __name__ == "__main__":
    for one in measure(*map(float, sys.argv[1:2])):
        sys.stdout.write(f"{one}\n")
        sys.stdout.flush()

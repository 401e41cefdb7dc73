"""The broker over its real sockets, beside a bare echo with one durable commit: `python -m tests.bench.broker`.

A figure of latency is the time from writing a `send` to the message at a `recv` that was waiting.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from meta.names import AgentName
from tests.bench.figure import Figure, figure
from tests.bench.lines import Caller, caller, echo, line
from tests.support.lab import Lab, fresh_lab

AGENTS = 100
LATENCIES = 400
ROUNDS = 3
EACH = 300
"""Messages from each of many senders in a round; an inbox takes 1,000."""
ALONE = 600
POLLS = 1_000
IDLE = 4.0
BODY = "x" * 200
SETTINGS = {"HIVE_RESYNC": "600", "HIVE_HEALTH_STABLE": "0"}


def measure() -> Iterator[Figure]:
    """One daemon with 100 agents on the fake backend; floor and hive alternate."""
    with fresh_lab("q", SETTINGS, backend="fake") as lab:
        names = [f"a{number}" for number in range(AGENTS)]
        for name in names:
            lab.host(cmd="spawn", name=name)
        lab.settle()
        with echo(lab.directory) as path:
            yield from asyncio.run(_broker(lab, names, path))


async def _broker(lab: Lab, names: list[str], floor: Path) -> list[Figure]:
    made = []
    for count in (1, 10, AGENTS):
        hive, bare = await _latency(lab, names[:count], floor)
        for word, at in (("p50", 50), ("p99", 99)):
            made.append(
                figure(
                    f"send to recv, {count} agents, {word}",
                    "ms",
                    [_percentile(run, at) for run in hive],
                    floor=[_percentile(run, at) for run in bare],
                    ratio_at_most=1.5 if at == 50 else None,
                    why="A handed out message is durable twice: that it was accepted, and that it was handed out.",
                )
            )
    made.append(await _alone(lab, names, floor))
    made.extend(await _many(lab, names))
    made.extend(await _polls(lab, names))
    return made


async def _latency(lab: Lab, names: list[str], floor: Path) -> tuple[list[list[float]], list[list[float]]]:
    """Rounds of latencies in ms with every one of `names` waiting; one message at a time."""
    hive: list[list[float]] = []
    bare: list[list[float]] = []
    sender, receivers = await _agent(lab, "manager"), [await _agent(lab, name) for name in names]
    plain = await caller(floor)
    for _ in range(ROUNDS):
        waiting = [receiver.call(line(cmd="recv", wait_seconds=60)) for receiver in receivers]
        took, floors = [], []
        for number in range(LATENCIES // ROUNDS):
            index = number % len(names)
            began = time.perf_counter()
            sent = sender.call(line(cmd="send", to=names[index], body=BODY))
            answer = json.loads(await waiting[index])
            took.append((time.perf_counter() - began) * 1000)
            assert answer["kind"] == "message", answer
            await sent
            waiting[index] = receivers[index].call(line(cmd="recv", wait_seconds=60))
            floors.append(await _plainly(plain))  # in turn: both meet the same disk and the same other load
        for index, name in enumerate(names):  # end what waits
            await sender.call(line(cmd="send", to=name, body=""))
            await waiting[index]
            await receivers[index].call(line(cmd="ack_turn"))
        hive.append(took)
        bare.append(floors)
    for one in (sender, plain, *receivers):
        one.close()
    return hive, bare


async def _alone(lab: Lab, names: list[str], floor: Path) -> Figure:
    """Accepted messages per second from one sender that waits for each answer."""
    sender, plain = await _agent(lab, "manager"), await caller(floor)
    hive, bare = [], []
    for number in range(ROUNDS):
        hive.append(await _rate(ALONE, sender, line(cmd="send", to=names[number], body=BODY)))
        bare.append(await _rate(ALONE, plain, line(cmd="send", to="x", body=BODY)))
    await _drain(lab, names[:ROUNDS])
    return figure("accepted messages per second, one sender", "/s", hive, floor=bare)


async def _plainly(plain: Caller) -> float:
    """ms of one echo."""
    began = time.perf_counter()
    await plain.call(line(cmd="send", to="x", body=BODY))
    return (time.perf_counter() - began) * 1000


async def _rate(count: int, sender: Caller, request: bytes) -> float:
    began = time.perf_counter()
    for _ in range(count):
        await sender.call(request)
    return count / (time.perf_counter() - began)


async def _many(lab: Lab, names: list[str]) -> list[Figure]:
    """The same from 100 senders at once, each durable before its answer."""
    senders = [await _agent(lab, name) for name in names]
    rates, daemon, client = [], [], []
    count = EACH * len(names)
    for _ in range(ROUNDS):
        began, spent, own = time.perf_counter(), _cpu(lab.pid), time.process_time()
        await asyncio.gather(*(_send(sender, names[index - 1]) for index, sender in enumerate(senders)))
        rates.append(count / (time.perf_counter() - began))
        daemon.append((_cpu(lab.pid) - spent) / count * 1e6)
        client.append((time.process_time() - own) / count * 1e6)
        await _drain(lab, names)
    return [
        figure(
            f"accepted messages per second, {len(names)} senders",
            "/s",
            rates,
            at_least=10_000,
            why="Loop and writer of the daemon take turns with one interpreter lock; see its CPU per message.",
        ),
        figure(f"CPU of the daemon per message, {len(names)} senders", "us", daemon),
        figure(f"CPU of the client per message, {len(names)} senders", "us", client),
    ]


async def _send(sender: Caller, to: str) -> None:
    request = line(cmd="send", to=to, body=BODY)
    for _ in range(EACH):
        answer = await sender.call(request)
        assert b'"ok"' in answer, answer


async def _drain(lab: Lab, names: list[str]) -> None:
    """Empty the inboxes."""

    async def empty(name: str) -> None:
        receiver = await _agent(lab, name)
        while b'"message"' in await receiver.call(line(cmd="recv", wait_seconds=0)):
            pass
        await receiver.call(line(cmd="ack_turn"))
        receiver.close()

    await asyncio.gather(*map(empty, names))


async def _polls(lab: Lab, names: list[str]) -> list[Figure]:
    """What 1,000 receivers that wait cost the daemon."""
    before = _memory(lab.pid)
    each = POLLS // len(names)
    pollers = [await _agent(lab, name) for name in names for _ in range(each)]
    waiting = [poller.call(line(cmd="recv", wait_seconds=60)) for poller in pollers]
    probe = await _agent(lab, "manager")
    await probe.call(line(cmd="status"))
    await asyncio.wait(waiting, timeout=IDLE / 4)  # until all are accepted
    spent, began = _cpu(lab.pid), time.perf_counter()
    await asyncio.wait(waiting, timeout=IDLE)
    share = (_cpu(lab.pid) - spent) / (time.perf_counter() - began) * 100
    grown = _memory(lab.pid) - before
    for one in (probe, *pollers):
        one.close()
    return [
        figure(f"memory of {POLLS} open long-polls", "MB", [grown]),
        figure(f"CPU of the daemon with {POLLS} open long-polls", "% of a core", [share]),
    ]


async def _agent(lab: Lab, name: str) -> Caller:
    return await caller(lab.layout.mcp_socket(AgentName(name)))


def _percentile(values: list[float], at: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[at - 1]


def _memory(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def _cpu(pid: int) -> float:
    """Seconds of CPU so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    for one in measure():
        sys.stdout.write(f"{one}\n")

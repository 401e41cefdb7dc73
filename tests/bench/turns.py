"""Turns of the real claude: what hive adds to the CLI itself. `python -m tests.bench.turns`.

All in one run, in turns: an agent of a hive, the same CLI fed by hand through its pipe, and a process for each message.
Each has the same options, files and system prompt, and the same fake model. A turn begins with the CLI's line `init`
and ends with its line `result`. hive's figures are taken where an operator sees them, at the stream of live events, so
the way of a line from the CLI to the operator is in them.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from harness.prompts.render import render_prompt
from harness.runtimes.base import Access, Enclosure, RuntimeSpec
from harness.runtimes.claude.arguments import DEFAULT_MODEL, STREAM_INPUT, Launch, launch
from meta.agent_toml.settings import parse_settings
from meta.names import AgentName
from tests.bench.figure import Figure, figure, percentile
from tests.support.fake_messages_api import FakeMessages
from tests.support.lab import Lab, fresh_lab
from tests.support.real_agents import CLAUDE, SETTINGS, TOML, Model, spawn

ROUNDS = 20
"""Rounds of two messages each, of which the second waits until the turn of the first is over."""
WARM = 2
"""Rounds before that, which do not count."""
ALONE = 4
"""Messages with a process each."""
OURS = 50.0
"""Milliseconds that hive may add."""
SECONDS = 60.0
ALICE = AgentName("alice")


@dataclass
class Times:
    """Milliseconds until a turn's first line: from the message, and from the end of the turn before."""

    sent: list[float] = field(default_factory=list)
    next: list[float] = field(default_factory=list)


def measure() -> Iterator[Figure]:
    """The three ways, one round after another."""
    if not CLAUDE.exists():
        return
    hive, bare, alone = Times(), Times(), Times()
    with fresh_lab("t", SETTINGS, tiny=False) as lab, FakeMessages() as fake, tempfile.TemporaryDirectory() as folder:
        spawn(lab, ALICE)
        Model(lab, fake).attach(ALICE)
        with Watch(lab) as watch, by_hand(Path(folder), fake) as cli:
            for number in range(WARM + ROUNDS):
                kept = number >= WARM
                in_hive(lab, watch, hive if kept else Times(), number)
                cli.round(bare if kept else Times(), number)
        one_process_each(Path(folder), fake, alone)
    for name, at in (("median", statistics.median), ("p95", percentile(95))):
        what = "a message to claude: from `send` accepted to the turn's first line"
        yield figure(f"{what}, {name}", "ms", hive.sent, floor=bare.sent, over_at_most=OURS, at=at)
        what = "a turn of claude: from its end to the first line of the next"
        yield figure(f"{what}, {name}", "ms", hive.next, floor=bare.next, over_at_most=OURS, at=at)
    yield figure("the same with `claude -p` for each message: from its start to the first line", "ms", alone.sent)
    yield figure("the same: from the end of a turn to the first line of the next", "ms", alone.next)


class Watch:
    """The live events of an agent, with the time at which each came."""

    def __init__(self, lab: Lab) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(lab.layout.http_socket))
        self._socket.sendall(f"GET /api/agents/{ALICE}/live?newest=0 HTTP/1.0\r\n\r\n".encode())
        self._changed = threading.Condition()
        self._inits: list[float] = []
        self._results: list[float] = []
        self._file = self._socket.makefile("rb")
        while b"event: ready" not in self._file.readline():
            pass
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := self._file.readline():
                now = time.perf_counter()
                if not line.startswith(b"data:") or b'"kind":"stream"' not in line:
                    continue
                with self._changed:
                    if b'"subtype":"init"' in line:
                        self._inits.append(now)
                    elif b'"type":"result"' in line:
                        self._results.append(now)
                    self._changed.notify()

    def turns(self, count: int) -> tuple[list[float], list[float]]:
        """Wait until so many turns ended; return when they began and ended, and forget them."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._results) >= count, SECONDS):
                raise AssertionError(f"{len(self._results)} of {count} turns ended")
            inits, results = self._inits, self._results
            self._inits, self._results = [], []
            return inits, results

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._file.close()
        self._socket.close()


def in_hive(lab: Lab, watch: Watch, times: Times, number: int) -> None:
    """Send two messages at once; note the first line of the first, and the first line of the second."""
    lab.post("/api/messages", to=ALICE, body=f"message {number} a")
    accepted = time.perf_counter()
    lab.post("/api/messages", to=ALICE, body=f"message {number} b")
    inits, results = watch.turns(2)
    times.sent.append((inits[0] - accepted) * 1_000)
    times.next.append((inits[1] - results[0]) * 1_000)
    lab.until(lambda: lab.agent(ALICE)["turn"] == "idle")


class ByHand:
    """A CLI that stays, fed through its pipe."""

    def __init__(self, how: Launch) -> None:
        self._process = start(how)

    def round(self, times: Times, number: int) -> None:
        """Write a message, read its turn, and write the next one at its end."""
        began = self._write(f"message {number} a")
        times.sent.append((read_until(self._process.stdout, "init") - began) * 1_000)
        ended = read_until(self._process.stdout, "result")
        self._write(f"message {number} b")
        times.next.append((read_until(self._process.stdout, "init") - ended) * 1_000)
        read_until(self._process.stdout, "result")

    def _write(self, text: str) -> float:
        assert self._process.stdin is not None
        user = {"role": "user", "content": text}
        line = {"type": "user", "message": user, "uuid": str(uuid.uuid4()), "client_composed": True}
        now = time.perf_counter()
        self._process.stdin.write(json.dumps(line).encode() + b"\n")
        self._process.stdin.flush()
        return now

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def by_hand(folder: Path, fake: FakeMessages) -> Iterator[ByHand]:
    """Start the CLI with the adapter's own arguments."""
    cli = ByHand(prepare(folder, fake, str(uuid.uuid4()), resume=False))
    try:
        yield cli
    finally:
        cli.end()


def one_process_each(folder: Path, fake: FakeMessages, times: Times) -> None:
    """Start a process for each message of one conversation."""
    session, ended = str(uuid.uuid4()), 0.0
    for number in range(ALONE):
        how = prepare(folder, fake, session, resume=number > 0, without=(STREAM_INPUT,))
        began = time.perf_counter()
        process = start(how)
        assert process.stdin is not None
        process.stdin.write(f"message {number}".encode())
        process.stdin.close()
        first = read_until(process.stdout, "init")
        times.sent.append((first - began) * 1_000)
        if ended:
            times.next.append((first - ended) * 1_000)
        ended = read_until(process.stdout, "result")
        assert process.stdout is not None
        process.stdout.read()
        process.stdout.close()
        process.wait(SECONDS)


def prepare(folder: Path, fake: FakeMessages, session: str, *, resume: bool, without: Sequence[str] = ()) -> Launch:
    """Return how to start the CLI as the adapter does, with a login of its own; its files are written."""
    settings = parse_settings(TOML.encode(), "agent.toml")
    home, work, files = folder / "home", folder / "work", folder / "files"
    for each in (home / ".claude", work, files):
        each.mkdir(parents=True, exist_ok=True)
    login = {
        "claudeAiOauth": {
            "accessToken": "sk-ant-oat01-fake",
            "refreshToken": "sk-ant-ort01-fake",
            "expiresAt": 4_102_444_800_000,
            "scopes": ["user:inference"],
            "subscriptionType": "max",
        }
    }
    (home / ".claude/.credentials.json").write_text(json.dumps(login), encoding="utf-8")
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TERM": "dumb"}
    enclosure = Enclosure(home, work, files, env, None, lambda: Access(root=fake.url))
    prompt = render_prompt(ALICE, settings, manager=False)
    spec = RuntimeSpec(ALICE, manager=False, settings=settings, enclosure=enclosure, prompt=prompt)
    how = launch(spec, DEFAULT_MODEL, session, resume=resume, servers={}, without=without)
    for name, text in how.files.items():
        (files / name).write_text(text, encoding="utf-8")
    return Launch((str(CLAUDE), *how.argv[1:]), how.env, how.cwd, how.files)


def start(how: Launch) -> subprocess.Popen[bytes]:
    """Start the CLI with pipes."""
    return subprocess.Popen(
        how.argv,
        env=dict(how.env),
        cwd=how.cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def read_until(stdout: IO[bytes] | None, what: str) -> float:
    """Read until the line `init` or `result`; return when it came."""
    assert stdout is not None
    while line := stdout.readline():
        now = time.perf_counter()
        value: dict[str, Any] = json.loads(line)
        if what in (value.get("subtype"), value.get("type")):
            assert not value.get("is_error"), line
            return now
    raise AssertionError(f"the CLI ended before its line {what!r}")


if __name__ == "__main__":
    for one in measure():
        sys.stdout.write(f"{one}\n")
        sys.stdout.flush()

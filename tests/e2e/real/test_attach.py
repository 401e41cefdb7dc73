"""`hive attach` on a terminal: a person types to a real agent, over a restart of the daemon."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.api.cli.attach.test_attach import WAIT, Output
from tests.support.lab import Lab
from tests.support.real_agents import REAL, Model

pytestmark = REAL
ROOT = Path(__file__).parents[3]


class Person:
    """Someone at a terminal in which `hive attach alice` runs."""

    def __init__(self, lab: Lab, terminal: int, program: subprocess.Popen[bytes]) -> None:
        self.program = program
        self._terminal = terminal
        self._screen = Output(terminal)

    def sees(self, pattern: str) -> str:
        return self._screen.until(pattern)

    def types(self, line: str) -> None:
        os.write(self._terminal, f"{line}\r".encode())

    def presses(self, key: bytes) -> None:
        os.write(self._terminal, key)


@contextmanager
def attached(lab: Lab) -> Iterator[Person]:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    where = {"HIVE_STATE": str(lab.layout.state), "HIVE_RUNTIME": str(lab.layout.runtime), "TERM": "xterm"}
    program = subprocess.Popen(
        [sys.executable, "-m", "api.cli.main", "attach", "alice"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", "NO_COLOR": "1", **where},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    try:
        yield Person(lab, ours, program)
    finally:
        program.kill()
        program.wait()
        os.close(theirs)
        os.close(ours)


@pytest.mark.full  # in every run the terminal is tried with a stand-in of the daemon, a pipe by the tutorial
def test_a_person_types_messages_and_orders_and_goes_on_after_a_restart_of_the_daemon(lab: Lab, fake: Model) -> None:
    with attached(lab) as person:
        person.sees("alice> ")
        person.types("@@text hello to the terminal")
        person.sees(r"(?<!@@text )hello to the terminal\r\n")
        person.sees(r"== turn \d+ ended, ok")
        person.types("/compact")
        person.sees("compacted: ")
        person.types("/pause")
        person.sees("alice is paused")
        person.types("@@text said in the pause")
        person.sees("waits in its inbox")
        assert not fake.turns("said in the pause")
        lab.kill()
        person.sees("waiting for the daemon")
        lab.start()
        person.sees("the daemon answers again")
        person.types("/resume")
        person.sees(r"(?<!@@text )said in the pause\r\n")
        person.sees(r"== turn \d+ ended, ok")
        person.types("/new-session")
        person.sees("new conversation")
        person.types("@@text the last one")
        person.sees(r"(?<!@@text )the last one\r\n")
        person.sees(r"== turn \d+ ended, ok")
        person.presses(b"\x03")
        person.sees("detached; alice goes on")
        assert person.program.wait(WAIT) == 0
    (last,) = fake.turns("the last one")
    assert "hello to the terminal" not in str(last["messages"])

"""Honest traffic: numbered messages between agents, with acks, and proposals that are approved or denied.

Each thread has choices of its own, made from the seed; what happens when depends on the machine.
"""

from __future__ import annotations

import random
import re
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from meta.errors import BadInput, HiveError
from meta.names import AgentName
from tests.soak.accounting import Acked, Decision, Requeued, Sent, Step, Taken
from tests.soak.agents import ANSWERING, PROPOSED, TALKERS
from tests.support.lab import Lab

Ask = Callable[[object], dict[str, Any]]
MESSAGE = re.compile(r"soak ([a-z]+) [a-z]+ ([0-9]+)")
ANSWER = re.compile(r"answer ([a-z]+) ([0-9]+)")
PAUSE = 0.05
"""Seconds between two messages of one sender, at most."""

TO_ANSWERING = 0.1
"""The part of the messages that goes to the agent that answers: it takes a turn for each."""


class Refusal(Exception):
    """hive answered with an error, as it may when the disk is full."""


@dataclass
class Book:
    """Everything that was sent, taken, answered and decided. Each list has one writer."""

    sent: dict[str, list[Sent]] = field(default_factory=lambda: {name: [] for name in TALKERS})
    steps: dict[str, list[Step]] = field(default_factory=lambda: {name: [] for name in TALKERS})
    answers: dict[str, list[Sent]] = field(default_factory=lambda: {name: [] for name in TALKERS})
    decisions: list[Decision] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)

    @property
    def all_sent(self) -> list[Sent]:
        return [each for name in TALKERS for each in self.sent[name]]

    @property
    def all_answers(self) -> list[Sent]:
        return [each for name in TALKERS for each in self.answers[name]]


def send(lab: Lab, name: str, book: Book, choices: random.Random, closing: threading.Event) -> None:
    """Send numbered messages as `name` until `closing`. An answer that is lost leaves the message unsure."""
    numbers: Counter[str] = Counter()
    while not closing.is_set():
        try:
            with lab.lines(lab.layout.mcp_socket(AgentName(name))) as ask:
                while not closing.wait(choices.uniform(0, PAUSE)):
                    to = choices.choice([other for other in TALKERS if other != name])
                    to = ANSWERING if choices.random() < TO_ANSWERING else to
                    number = numbers[to]
                    numbers[to] += 1
                    accepted: bool | None = None
                    try:
                        body = f"soak {name} {to} {number}"
                        answer = ask({"cmd": "send", "to": to, "body": body})
                        accepted = answer == {"kind": "ok"}
                        book.refusals[str(answer.get("message", ""))[:60]] += not accepted
                    finally:
                        book.sent[name].append(Sent(name, to, number, accepted))
        except (OSError, ValueError):
            closing.wait(PAUSE)


def receive(lab: Lab, name: str, book: Book, choices: random.Random, closed: threading.Event) -> None:
    """Take and ack as `name` until `closed`: as a harness does, it requeues if an answer may have been lost."""
    while not closed.is_set():
        try:
            with lab.lines(lab.layout.mcp_socket(AgentName(name))) as ask:
                _command(ask, "requeue_inflight")
                book.steps[name].append(Requeued())
                while not closed.is_set():
                    _turn(ask, name, book, choices.randint(1, 5))
        except (OSError, ValueError, Refusal):
            closed.wait(PAUSE)


def _turn(ask: Ask, name: str, book: Book, most: int) -> None:
    """Take up to `most` messages and ack them."""
    for _ in range(most):
        answer = ask({"cmd": "recv", "wait_seconds": 1})
        if answer["kind"] == "err":
            raise Refusal(answer["message"])
        if answer["kind"] == "empty":
            break
        _note(answer, name, book)
    try:
        _command(ask, "ack_turn")
    except (OSError, ValueError, Refusal):
        book.steps[name].append(Acked(sure=False))
        raise
    book.steps[name].append(Acked())


def _note(answer: dict[str, Any], name: str, book: Book) -> None:
    sender, body = answer["from"], answer["body"]
    if found := MESSAGE.fullmatch(body):
        assert found[1] == sender, f"{answer} is not from {found[1]}"
        book.steps[name].append(Taken(sender, int(found[2]), bool(answer["redelivered"])))
    elif (found := ANSWER.fullmatch(body)) and sender == ANSWERING:
        book.answers[name].append(Sent(ANSWERING, found[1], int(found[2]), accepted=True))


def _command(ask: Ask, cmd: str) -> None:
    answer = ask({"cmd": cmd})
    if answer != {"kind": "ok"}:
        raise Refusal(str(answer))


def decide(lab: Lab, book: Book, choices: random.Random, closing: threading.Event) -> None:
    """Propose changes of one agent, and approve or deny each."""
    number = 0
    while not closing.wait(choices.uniform(0.2, 1.5)):
        number += 1
        try:
            id = lab.propose(f'label = "soak {number}"\n', PROPOSED)
        except (HiveError, OSError, subprocess.SubprocessError):
            continue
        approved = choices.random() < 0.5
        sure = False
        try:
            words = {} if approved else {"reason": "a soak"}
            lab.post(f"/api/proposals/{id}/{'approve' if approved else 'deny'}?agent={PROPOSED}", **words)
            sure = True
            lab.get("/api/wait", agent=PROPOSED, timeout=10)
        except BadInput:
            raise  # the soak's own mistake
        except (HiveError, OSError):
            closing.wait(PAUSE)
        finally:
            book.decisions.append(Decision(id, approved, sure))

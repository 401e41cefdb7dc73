"""The accounting of a soak: what was sent, taken and decided is compared, and every difference is a sentence. Pure.

Honest agents send numbered messages. A receiver takes messages, and acks or requeues what it has; all of that is on
record in the order in which it happened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True)
class Sent:
    """A message. `accepted` is None if the answer was lost."""

    sender: str
    to: str
    number: int
    accepted: bool | None


@dataclass(frozen=True, slots=True)
class Taken:
    """A hand-out."""

    sender: str
    number: int
    redelivered: bool = False


@dataclass(frozen=True, slots=True)
class Acked:
    """An ack of everything in flight. It is not `sure` if its answer was lost."""

    sure: bool = True


@dataclass(frozen=True, slots=True)
class Requeued:
    """A requeue of everything in flight, which was answered."""


Step = Taken | Acked | Requeued


@dataclass(slots=True)
class _Pair:
    """What is known about the messages of one sender to one receiver.

    `maybe`: their ack may have been lost. `passed`: what came before a message that should have come first.
    """

    words: str
    accepted: set[int]
    refused: set[int]
    sent: set[int]
    done: set[int] = field(default_factory=set)
    maybe: set[int] = field(default_factory=set)
    seen: set[int] = field(default_factory=set)
    flying: list[int] = field(default_factory=list)
    passed: dict[int, int] = field(default_factory=dict)

    def step(self, step: Step) -> Iterator[str]:
        match step:
            case Taken(number=number, redelivered=redelivered):
                yield from self._taken(number, redelivered)
            case Acked(sure=sure):
                (self.done if sure else self.maybe).update(self.flying)
                self.flying = []
            case Requeued():
                self.flying = []

    def _taken(self, number: int, redelivered: bool) -> Iterator[str]:
        name = f"{self.words} {number}"
        if number not in self.sent:
            yield f"invented: {name} was never sent"
        elif number in self.refused:
            yield f"invented: {name} was refused, and came"
        if number in self.done:
            yield f"doubled: {name} came again after its ack"
        elif number in self.flying:
            yield f"doubled: {name} came twice without a requeue"
        elif number in self.seen and not redelivered:
            yield f"doubled: {name} came again without the mark `redelivered`"
        if number in self.passed:
            yield f"reordered: {name} came after {self.passed.pop(number)}"
        elif self.flying and number < self.flying[-1]:
            yield f"reordered: {name} came after {self.flying[-1]}"
        for each in self.accepted - self.done - self.maybe - set(self.flying):
            if each < number:
                self.passed.setdefault(each, number)
        self.maybe.discard(number)
        self.seen.add(number)
        self.flying.append(number)

    def end(self) -> Iterator[str]:
        lost = sorted(self.accepted - self.done - self.maybe - set(self.flying))
        if lost:
            yield f"lost: {self.words} {', '.join(map(str, lost[:10]))}{' …' if len(lost) > 10 else ''} ({len(lost)})"


def message_faults(receiver: str, sent: Sequence[Sent], steps: Sequence[Step]) -> list[str]:
    """What differs between what was sent to `receiver` and what it took: lost, doubled, reordered, invented."""
    faults: list[str] = []
    known = {each.sender for each in sent if each.to == receiver}
    for sender in sorted(known | {step.sender for step in steps if isinstance(step, Taken)}):
        theirs = [each for each in sent if (each.sender, each.to) == (sender, receiver)]
        pair = _Pair(
            f"{sender} to {receiver}",
            accepted={each.number for each in theirs if each.accepted},
            refused={each.number for each in theirs if each.accepted is False},
            sent={each.number for each in theirs},
        )
        for step in steps:
            if not isinstance(step, Taken) or step.sender == sender:
                faults += pair.step(step)
        faults += pair.end()
    return faults


def reply_faults(to: str, sent: Sequence[Sent], replies: Sequence[Sent], excused: int = 0) -> list[str]:
    """What differs between the messages that `to` accepted and its replies, in the order in which they came.

    An agent that dies in mid-turn may reply twice; it may not leave a message out or pass one over. `excused` messages
    of each sender may have no reply, because hive refused it.
    """
    faults = []
    for sender in sorted({each.sender for each in sent if each.to == to}):
        mine = [each for each in sent if (each.sender, each.to) == (sender, to)]
        numbers = list(dict.fromkeys(each.number for each in replies if each.to == sender))
        missing = sorted({each.number for each in mine if each.accepted} - set(numbers))
        if len(missing) > excused:
            faults.append(f"lost: {to} never answered {sender} {', '.join(map(str, missing[:10]))} ({len(missing)})")
        invented = sorted(set(numbers) - {each.number for each in mine if each.accepted is not False})
        if invented:
            faults.append(f"invented: {to} answered {sender} {invented[:10]}, which it was not sent")
        if numbers != sorted(numbers):
            faults.append(f"reordered: {to} answered {sender} out of order")
    return faults


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision about a proposal. It is not `sure` if its answer was lost."""

    id: int
    approved: bool
    sure: bool


def decision_faults(decisions: Sequence[Decision], states: dict[int, str]) -> list[str]:
    """What differs between what was decided and what became of it. `states` are the cards' at the end."""
    faults = []
    for each in decisions:
        wanted = "deployed" if each.approved else "denied"
        state = states.get(each.id, "gone")
        if state != wanted and (each.sure or state not in ("proposal", "superseded", wanted)):
            faults.append(f"decision: {each.id} was {'approved' if each.approved else 'denied'} and is {state}")
    return faults


@dataclass(frozen=True, slots=True)
class Sample:
    """What a daemon used at one moment. `daemon` tells daemons apart. Sockets do not count: peers hold them open."""

    daemon: int
    kib: int
    descriptors: int


def growth_faults(
    samples: Sequence[Sample], *, kib: int = 16 * 1024, share: float = 0.2, descriptors: int = 24
) -> list[str]:
    """What grew in the last daemon between the first and the last quarter of its samples, beyond what is allowed.

    Memory may grow by `share` and by `kib`, descriptors by `descriptors`: what is open at a moment differs.
    """
    last = [each for each in samples if each.daemon == samples[-1].daemon] if samples else []
    quarter = len(last) // 4
    if quarter < 2:
        return [f"growth: only {len(last)} samples of the last daemon"]
    first, end = last[:quarter], last[-quarter:]
    before, after = (median(each.kib for each in part) for part in (first, end))
    faults = []
    if after > before * (1 + share) + kib:
        faults.append(f"growth: memory grew from {before:.0f} to {after:.0f} KiB")
    before, after = (median(each.descriptors for each in part) for part in (first, end))
    if after > before + descriptors:
        faults.append(f"growth: descriptors grew from {before:.0f} to {after:.0f}")
    return faults


def objections(findings: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return the faults and warnings of an audit. A note reports what is allowed."""
    return [finding for finding in findings if finding["level"] != "note"]

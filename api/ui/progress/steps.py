"""The steps of one deploy as rows: what is done, what is under way, what failed, what is to come. Pure.

They follow from the card, the agent's plan and its events. No word of them changes with the clock alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from api.ui.progress.facts import Facts, Times, times_of
from api.words.texts import first_line
from api.words.users import with_names
from meta.consent import How
from meta.model import DeployKind

APPROVED, BUILD, DRAIN, SWITCH, GATE, COMMIT, BACK = "approved", "build", "drain", "switch", "gate", "commit", "back"
ORDER = (APPROVED, BUILD, DRAIN, SWITCH, GATE, COMMIT)

DONE, RUN, BAD, TODO = "", "run", "bad", "todo"
"""The states of a step, as the stylesheet has them."""

LINES = 12
"""Lines of a log that a step shows at once."""
REASON = 2_000
"""Characters of a reason."""

_OF_PLAN = {
    **dict.fromkeys(("begin", "candidate", "build"), BUILD),
    "drain": DRAIN,
    **dict.fromkeys(("create", "furnish", "open-sockets", "stop", "switch", "start"), SWITCH),
    "wait": GATE,
    **dict.fromkeys(("commit", "finish", "drop", "project"), COMMIT),
}
"""The step of a deploy to which each step of the plan belongs."""

_TITLES = {  # to come, under way, done
    APPROVED: ("Approve", "Approved", "Approved"),
    BUILD: ("Build", "Building", "Built"),
    DRAIN: ("Drain", "Draining", "Drained"),
    SWITCH: ("Switch", "Switching", "Switched"),
    GATE: ("Health gate", "Health gate", "Healthy"),
    COMMIT: ("Commit", "Committing", "Deployed"),
}
_WORDS = {DONE: "done", RUN: "under way", BAD: "failed", TODO: "to come"}
_SECONDS_LEFT = re.compile(r"^health, \d+ s left: ")


@dataclass(frozen=True, slots=True)
class Step:
    """One row. `at` and `end` are Unix seconds, None if unknown; `until` is when hive goes on at the latest.

    `commit` stands behind the text, `turn_since` is when the turn began that is waited for. `log` are the last lines of
    what the step ran.
    """

    key: str
    title: str
    state: str
    text: str = ""
    commit: str = ""
    at: float | None = None
    end: float | None = None
    until: float | None = None
    turn_since: float | None = None
    log: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        """The state, for those who do not see it."""
        return _WORDS[self.state]

    @property
    def seconds(self) -> float | None:
        """How long it took; None while that is not known."""
        return None if self.at is None or self.end is None else max(self.end - self.at, 0.0)


def steps_of(facts: Facts) -> tuple[Step, ...]:
    """Return the steps of a deploy that was approved. One that waits or was denied has none."""
    times = times_of(facts)
    if facts.under_way:
        return _rows(facts, times, _present(facts), RUN)
    if facts.card.state == "deployed":
        return _rows(facts, times, None, DONE)
    if facts.card.state == "failed":
        rows = _rows(facts, times, _broken(times), BAD)
        return (*(row for row in rows if row.state != TODO), *_way_back(times))
    return ()


def current(steps: Sequence[Step]) -> Step | None:
    """Return the step that is under way or failed; None if all are done."""
    return next((step for step in steps if step.state in (RUN, BAD)), None)


def how_far(steps: Sequence[Step]) -> str:
    """Return in a word or a few how far a deploy is, e.g. "draining", "at the health gate"."""
    step = current(steps)
    if step is None:
        return "deployed"
    if step.state == BAD:
        return "failed"
    if step.key == GATE:
        return "at the health gate"
    return _TITLES[step.key][1].lower() if step.key in _TITLES else "rolling back"


def first_words(reason: str) -> str:
    """Return the first line of a reason, which may be long."""
    return first_line(reason)[:REASON]


def last_lines(text: str) -> tuple[str, ...]:
    """Return the last of the lines behind the first one: a reason ends with what the container wrote last."""
    return tuple(line for line in text[-8 * REASON :].strip().splitlines()[1:] if line.strip())[-LINES:]


def steady(reason: str) -> str:
    """Return the reason of a plan as a sentence without the seconds that are left: those change all the time."""
    return capital(_SECONDS_LEFT.sub("", reason)[:REASON].rstrip("."))


def capital(text: str) -> str:
    """Return a text with a capital first letter, unless it begins with a name such as `agent.toml`."""
    first = text.partition(" ")[0].rstrip(":,;")
    return f"{text[:1].upper()}{text[1:]}" if first.isalpha() else text


def _present(facts: Facts) -> str:
    plan = facts.its_plan
    if plan is None:
        return APPROVED if facts.card.state == "approved" else BUILD
    return _OF_PLAN.get(plan.step, BUILD)


def _broken(times: Times) -> str:
    """Return the step at which a deploy failed."""
    if times.started is not None:
        return GATE
    if times.stopped is not None:
        return SWITCH
    return BUILD if times.building is not None else APPROVED


def _rows(facts: Facts, times: Times, at: str | None, state: str) -> tuple[Step, ...]:
    """Return all rows. Those before `at` are done, those after it are to come; None: all are done."""
    place = len(ORDER) if at is None else ORDER.index(at)
    states = [DONE] * place + [state] + [TODO] * len(ORDER)
    return tuple(_row(key, states[index], facts, times) for index, key in enumerate(ORDER))


def _row(key: str, state: str, facts: Facts, times: Times) -> Step:
    begin, end = _span(key, state, facts, times)
    to_come, now, done = _TITLES[key]
    title = {TODO: to_come, RUN: now, DONE: done, BAD: to_come}[state]
    step = Step(key, title, state, at=begin, end=end)
    if state == TODO:
        return replace(step, text=_to_come(key, facts))
    if state == BAD:
        note = facts.card.note or ""
        return replace(step, text=steady(first_words(note)), log=last_lines(note) or _log(key, facts)[-LINES:])
    if key == APPROVED:
        return _approved(step, facts)
    if state == RUN:
        return _running(step, facts)
    return replace(step, text=_was_done(key, facts, times), log=_log(key, facts))


_HOW = {How.PASSKEY.value: ", by the touch of a passkey", How.ROOT.value: ", without a passkey"}
"""What the step says of the consent. Of the others who approved says enough."""


def _approved(step: Step, facts: Facts) -> Step:
    card, plan = facts.card, facts.plan
    by = card.approved_by or card.decided_by
    words = f"By {with_names(by)}{_HOW.get(card.consent, '')}" if by else ""
    if step.state == RUN and plan is not None:
        waits = f"waits for deploy {plan.deploy}" if plan.deploy is not None else plan.reason[:REASON]
        words = f"{words}; {waits}" if words else waits
    return replace(step, text=words, commit=card.sha or card.fetched_sha or "")


def _running(step: Step, facts: Facts) -> Step:
    plan, agent = facts.its_plan, facts.agent
    if plan is None:
        return step
    if step.key == DRAIN:
        since = agent.turn_since if agent is not None else None
        words = f"Waits for {plan.agent}'s turn" if since is not None else f"Waits until {plan.agent} takes no turn"
        return replace(step, text=words, until=plan.until, turn_since=since)
    if step.key == GATE:
        return replace(step, text=f"Waits: {_uncapital(steady(plan.reason))}.", until=plan.until)
    trouble = f". {steady(plan.conditions[-1])}" if plan.conditions and step.key == BUILD else ""
    return replace(step, text=f"{steady(plan.reason)}{trouble}.", until=plan.until, log=_log(step.key, facts)[-LINES:])


def _uncapital(text: str) -> str:
    return f"{text[:1].lower()}{text[1:]}" if text[1:2].islower() else text


def _was_done(key: str, facts: Facts, times: Times) -> str:
    switched = f"To generation {facts.card.id}, built as {times.generation}" if times.generation else ""
    return {
        DRAIN: "" if times.stopped is not None or times.started is None else "Nothing ran that had to stop",
        SWITCH: switched,
        COMMIT: f"deployed/{facts.card.id} on meta main",
    }.get(key, "")


def _to_come(key: str, facts: Facts) -> str:
    return {
        BUILD: "The generation of this commit",
        DRAIN: "Nothing has to stop" if facts.card.kind is DeployKind.SPAWN else "Waits for the end of the turn",
        SWITCH: "The container gets the new generation",
        GATE: "A hello of the new generation, a probe answered, a link that holds",
        COMMIT: f"deployed/{facts.card.id} on meta main",
    }.get(key, "")


def _log(key: str, facts: Facts) -> tuple[str, ...]:
    return facts.build if key == BUILD else ()


def _span(key: str, state: str, facts: Facts, times: Times) -> tuple[float | None, float | None]:
    """Return when a step began and ended, as far as that is known. The phase of the agent says when a drain began."""
    drains = facts.under_way and facts.agent is not None and facts.agent.phase == "draining"
    drain = facts.agent.since if drains and facts.agent is not None else None
    begin, end = {
        APPROVED: (times.approved, None),
        BUILD: (times.building, drain),
        DRAIN: (drain, None),
        SWITCH: (times.stopped, times.started),
        GATE: (times.started, times.over),
        COMMIT: (times.over, None),
    }[key]
    if state == TODO:
        return None, None
    return begin, times.over if state == BAD else end if state == DONE else None


def _way_back(times: Times) -> tuple[Step, ...]:
    """Return the row about what runs again after a failure, if the container was switched."""
    if times.back is None and times.back_end is None:
        return ()
    text = "What ran before runs again and passed the gate."
    row = Step(BACK, "Rolled back", DONE, text, at=times.back, end=times.back_end)
    if times.back_failed:
        return (replace(row, title="Roll back", state=BAD, text=first_words(times.back_failed)),)
    if times.back_end is None:
        return (replace(row, title="Rolling back", state=RUN, text="What ran before has to pass the gate again."),)
    return (row,)

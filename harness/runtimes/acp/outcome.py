"""The outcome of a turn: from the answer to its prompt, or the error. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.runtimes.acp.rules import WRONG_MODEL, Failure, Path, ending_of, look_up
from harness.runtimes.acp.table import Preset
from harness.runtimes.acp.updates import Reader, typed_failure
from harness.runtimes.base import Ending, Fault, Tokens, TurnOutcome
from meta.agent_toml.logins import login_remedy
from meta.names import AgentName
from meta.text import one_line

_STOPS = {
    "max_tokens": "the model's answer was cut off at its limit of tokens",
    "max_turn_requests": "the turn needed more calls of the model than the agent allows",
    "refusal": "the model refused",
    "cancelled": "the agent ended the turn by itself, as after a tool that was refused",
}

_LIMITS = ("max_tokens", "max_turn_requests")


def outcome_of(
    preset: Preset, answer: object, reader: Reader, *, agent: AgentName, session: str, cost_before: float | None
) -> TurnOutcome:
    """Return the outcome of a turn whose prompt was answered and that nobody cancelled."""
    model = look_up(answer, preset.model)
    facts: dict[str, Any] = {
        "session": session,
        "tokens": _tokens(preset, answer, reader, cost_before),
        "model": model[:200] if isinstance(model, str) else "",
    }
    stop = look_up(answer, ("stopReason",))
    if any(_is_null(answer, path) for path in preset.failed_if_null) and stop == "end_turn":
        failure = typed_failure(preset, answer) or reader.failure
        failure = failure or Failure(reader.notice or "the turn failed, and the agent does not say why")
        return replace(failed(preset, failure, agent=agent, session=session), **facts)
    if stop == "end_turn":
        return TurnOutcome(Ending.OK, **facts)
    why = _STOPS.get(stop) if isinstance(stop, str) else None
    fault = Fault.LIMIT if stop in _LIMITS else None
    return TurnOutcome(
        Ending.REFUSED,
        why or one_line(f"the agent ended the turn for an unknown reason, {stop!r}"),
        fault=fault,
        **facts,
    )


def failed(preset: Preset, failure: Failure, *, agent: AgentName, session: str | None) -> TurnOutcome:
    """Return the outcome of a turn that the agent answered with an error."""
    ending = ending_of(failure, preset.rules)
    reason = one_line(failure.text or "the agent failed and does not say why")
    if ending is Ending.NEEDS_LOGIN:
        with_remedy = one_line(f"{reason}: {login_remedy(preset.name, agent)}")
        return TurnOutcome(ending, with_remedy, session=session, refusal=reason)
    remedy = f"set another one by `hive model {agent} NAME`" if WRONG_MODEL.matches(failure) else ""
    person = ending is Ending.PARKED and WRONG_MODEL.matches(failure)
    return TurnOutcome(ending, one_line(f"{reason}: {remedy}" if remedy else reason), session=session, person=person)


def _is_null(answer: object, path: Path) -> bool:
    """Return True if the last key of `path` is there, and null."""
    whole = look_up(answer, path[:-1])
    return isinstance(whole, dict) and path[-1] in whole and whole[path[-1]] is None


def _tokens(preset: Preset, answer: object, reader: Reader, before: float | None) -> Tokens:
    cost = reader.cost
    if cost is not None and before is not None and before <= cost:  # it counts up; a new process may begin at 0 again
        cost -= before
    return Tokens(
        input=_count(answer, preset.input_tokens),
        output=_count(answer, preset.output_tokens),
        cached=_count(answer, preset.cached_tokens),
        cost_dollars=cost,
        context=reader.context,
        window=reader.window,
    )


def _count(answer: object, path: Path) -> int | None:
    number = look_up(answer, path)
    return number if type(number) is int and 0 <= number < 2**53 else None

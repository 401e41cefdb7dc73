"""What a sub-agent does, as its socket says: its state, its turns, and how its latest run ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from harness.subagents.peer import Event, connected, next_event
from meta.text import one_line

RETRY_SECONDS = 0.05
LONGEST_RETRY = 2.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a pod. `visible`: its socket answers now. `ended`: Unix seconds of its latest run's end."""

    state: str = "starting"
    turn: int = 0
    result: str = ""
    ended: float | None = None
    visible: bool = False


def after(seen: Seen, event: Event, now: float) -> Seen:
    """Return what is known after an event. What is strange changes nothing."""
    data = event.get("data")
    data = data if isinstance(data, dict) else {}
    match event.get("event"):
        case "turn_start":
            turn = data.get("turn")
            number = turn if type(turn) is int and 0 <= turn < 2**53 else seen.turn
            return replace(seen, state="running", turn=number, result=seen.result if seen.state == "running" else "")
        case "error" if seen.state == "running" and "id" not in event:
            return replace(seen, result="error")
        case "run_end":
            word = one_line(str(data.get("result", "")), 16)
            word = "error" if seen.result == "error" and word == "finished" else word
            return replace(seen, state="paused" if word == "paused" else "idle", result=word, ended=now)
        case _:
            return seen


async def watch(socket: Path, changed: Callable[[Seen], None], clock: Callable[[], float] = time.time) -> None:
    """Follow a pod's events until cancelled, over its restarts. `changed` takes each change."""
    seen, delay = Seen(), RETRY_SECONDS
    while True:
        try:
            async with connected(socket) as (reader, _):
                delay = RETRY_SECONDS
                seen = replace(seen, visible=True, state="idle" if seen.state == "starting" else seen.state)
                changed(seen)
                while (event := await next_event(reader)) is not None:
                    before, seen = seen, after(seen, event, clock())
                    if seen != before:
                        changed(seen)
        except (OSError, asyncio.LimitOverrunError):
            pass  # it starts, or has ended: who watches its process knows that
        if seen.visible:
            seen = replace(seen, visible=False)
            changed(seen)
        await asyncio.sleep(delay)
        delay = min(2 * delay, LONGEST_RETRY)

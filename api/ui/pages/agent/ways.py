"""Why an agent does not work, in a sentence, and what one can do about it on a page. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from api.ui.progress.steps import steady
from meta.names import AgentName
from reconciler.plan.phases import GIVEN_UP

AS_DESIRED = "as desired"
"""The reason of a plan that has nothing to do. It says nothing of an agent that waits for a person."""
_SENTENCES = {
    "needs-login": "Its coding agent has no login: messages wait until somebody logs it in",
    "over-budget": "Its budget is used up",
    "parked": "It waits for its model",
}
"""Why an agent is in its phase, where the plan has nothing to do."""


@dataclass(frozen=True, slots=True)
class Way:
    """A button. `href` is a page, or with `post` the path of a form without fields."""

    words: str
    href: str
    post: bool = False


def why(phase: str, reason: str) -> str:
    """Return why an agent is in its phase, without the command for it and without the seconds that are left."""
    said, _, _ = reason.partition("; `")
    if said == AS_DESIRED and phase in _SENTENCES:
        return _SENTENCES[phase]
    return f"{steady(said)}. hive does not start it again" if phase == "failed" and said else steady(said)


def others(phase: str, conditions: Sequence[str], reason: str) -> tuple[str, ...]:
    """Return the conditions that say more than `why`: not the one that repeats the phase with its reason."""
    return tuple(each for each in conditions if not each.startswith(f"{phase}: ") and each not in reason)


def ways(agent: AgentName | str, phase: str) -> tuple[Way, ...]:
    """Return what one can do about an agent in this phase, the first choice first."""
    at = f"/agents/{agent}"
    match phase:
        case "failed" | "rollback-failed":
            return Way("Restart", f"{at}/restart", post=True), Way("Logs", f"{at}/logs")
        case "disagrees":
            return (Way("Decide", f"/?row=agent-held:{agent}"),)
        case "needs-login":
            return (Way("Log in", f"/?row=agent-needs-login:{agent}"),)
        case "over-budget":
            return (Way("Change its budget", f"{at}/settings"),)
        case "stopped":
            return (Way("Start", f"{at}/start", post=True),)
        case "paused":
            return (Way("Resume", f"{at}/turn/resume", post=True),)
        case phase if phase in GIVEN_UP:
            return (Way("Look at the host", "/host"),)
        case _:
            return ()

"""The sentences about how a declaration stands to git."""

from __future__ import annotations

from meta.desired.declared_files import DeclaredFiles
from meta.errors import HiveError
from meta.names import MANAGER, AgentName
from meta.text import one_line
from reconciler.agents.declared.look import Look
from reconciler.common.rounds import describe
from reconciler.observe.declared import DeclaredRecord
from reconciler.plan.declared import ABOUT, NOT_FOLLOWED, Standing, Verdict

NAMED = 5
"""Files that a text names."""


def condition(agent: AgentName, verdict: Verdict, record: DeclaredRecord | None) -> str:
    """Return what an operator should know, "" if all is well."""
    tried = record.tried if record is not None else None
    match verdict.standing:
        case Standing.GIT_MOVED:
            return (
                f"{ABOUT} declares something else than git has by now: `hive history {agent}` shows what changed "
                "it; a change of the declaration asks which one shall be"
            )
        case Standing.CONFLICT:
            id = verdict.id if verdict.id is not None else tried
            return (
                f"{ABOUT} and git both changed it: `hive diff {id}`, then approve {id} to take what is declared, "
                "or deny it to keep what git has"
            )
        case Standing.DENIED:
            return f"{ABOUT} declares what was denied ({tried}); a change of it is proposed again"
        case Standing.FAILED:
            return f"{ABOUT} declares what failed ({tried}): see `hive history {agent}`"
        case Standing.REMOVED:
            removes = "" if agent == MANAGER else f"`hive destroy {agent}` removes it, "
            return f"{ABOUT} declares it no more, so it was stopped: {removes}`hive start {agent}` keeps it"
        case _:
            return ""


def unusable(reason: str) -> str:
    """Return the condition of an agent whose declaration cannot be used."""
    return f"{ABOUT} declares what cannot be used: {reason}"


def not_followed(error: HiveError) -> str:
    """Return the condition of an agent whose declaration cannot be followed now."""
    return f"{NOT_FOLLOWED}: {describe(error)}"


def conflict(files: DeclaredFiles, look: Look) -> str:
    """Return what conflicts, for the card."""
    git = files.managed(look.git or {})
    if look.base is None:
        return "git has this agent already, with other files. Approve to take the declared ones, deny to keep git's"
    base = files.managed(look.base)
    moved = sorted(path for path in {*git, *base} if git.get(path) != base.get(path))
    decide = "Approve to take the declared files, deny to keep git's"
    if not moved:
        return f"git deployed something after both last agreed, and went back to these files. {decide}"
    return f"git changed {_some(moved)} since both last agreed. {decide}"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return one_line(f"{', '.join(names[:NAMED])}{more}")

"""The values that show what a commit changes and holds, and how its build goes."""

from __future__ import annotations

from dataclasses import dataclass

from meta.git.diff import FileChange
from meta.names import AgentName, ProposalId, Sha


@dataclass(frozen=True, slots=True)
class Diff:
    """The changes of a proposal. `settings` lists changed settings as (key, before, after), `words` the same in words,
    more rights first (meta.agent_toml.changes), then those that do nothing (meta.agent_toml.no_effect); `patch` is
    git's.

    `changes` has every changed file, whatever the patch shows; `files` their paths. `cut` is the reason why the patch
    does not show all of them, None if it does. `invisible` names the characters without ink that any text here holds.
    `complaint` is the reason why it cannot be built, if known. If the builder previews: `system` lists the differences
    of the built system, `shown` is the fingerprint that an approval sends back (None until the proposal is evaluated),
    `same` is True if the result is what runs now. `build` is the end of the build's log, while this daemon has it.
    """

    id: ProposalId
    agent: AgentName
    base: str | None
    sha: Sha
    description: str
    commits: tuple[str, ...]
    settings: tuple[tuple[str, str, str], ...]
    files: tuple[str, ...]
    patch: str
    previews: bool = False
    system: tuple[str, ...] = ()
    complaint: str | None = None
    shown: str | None = None
    same: bool = False
    build: tuple[str, ...] = ()
    changes: tuple[FileChange, ...] = ()
    cut: str | None = None
    invisible: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BuildLog:
    """The last lines of the build of an id, oldest first; none if this daemon has not built it, or long ago."""

    id: ProposalId
    agent: AgentName
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """The changes between two commits of one agent, as in Diff. `base` and `sha` are full ids."""

    agent: AgentName
    base: str
    sha: str
    commits: tuple[str, ...]
    settings: tuple[tuple[str, str, str], ...]
    files: tuple[str, ...]
    patch: str
    changes: tuple[FileChange, ...] = ()
    cut: str | None = None
    invisible: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SettingsText:
    """agent.toml of one commit. `base` is the agent's newest deployed commit, the parent of an edit.

    `module` is agent.nix of the commit, "" if it has none; what is no UTF-8 in it is replaced.
    """

    agent: AgentName
    base: str
    sha: str
    text: str
    module: str = ""

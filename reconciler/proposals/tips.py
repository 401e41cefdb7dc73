"""The rules of discovery: which tips of branches become proposals. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from meta.applied.source import Source, SourceKind
from meta.model import Deploy, TagState
from meta.names import AgentName, Sha
from meta.proposed.tips import Tip

REPOS: Mapping[SourceKind, str] = {SourceKind.PUSH: "push.git", SourceKind.WORK_TREE: "config"}
"""The repos below `proposed/<n>` whose branches become proposals."""
GIT_DIRECTORIES: Mapping[SourceKind, str] = {SourceKind.PUSH: "push.git", SourceKind.WORK_TREE: "config/.git"}
"""Their git directories."""


@dataclass(frozen=True, slots=True)
class NewTip:
    """A tip that will become a proposal from `source`."""

    source: Source
    tip: Tip

    @property
    def by(self) -> str:
        """The recorded proposer. For a push, only the owner of the ref's file is known."""
        if self.source.kind is SourceKind.WORK_TREE:
            return "manager"
        return "push" if self.tip.uid is None else f"push by uid {self.tip.uid}"

    def remedy(self, push_git: Path) -> str:
        """Return how to remove a branch whose commit is refused. `push_git` is the path of the push repo."""
        branch = shlex.quote(self.tip.branch)
        if self.source.kind is SourceKind.PUSH:
            return f"`git push {shlex.quote(str(push_git))} --delete {branch}` forgets it"
        return f"`git branch -D {branch}` forgets it"


def is_proposable(kind: SourceKind, branch: str, auto_propose: bool) -> bool:
    """Return True if a tip of this branch becomes a proposal.

    That is each pushed branch, `propose/...` of a work tree, and with `auto_propose` its `main`.
    """
    return kind is SourceKind.PUSH or branch.startswith("propose/") or (branch == "main" and auto_propose)


def new_tips(
    kind: SourceKind,
    tips: Iterable[Tip],
    seen: Mapping[str, Sha],
    deploys: Iterable[Deploy],
    *,
    main: Sha | None,
    auto_propose: bool,
) -> tuple[NewTip, ...]:
    """Return the tips to propose, by branch.

    `seen` has the last tip of each source that became a proposal. The tags have them too, if the database is lost.
    A commit that is or was deployed is not proposed again.
    """
    proposed = {(deploy.source, deploy.sha) for deploy in deploys}
    deployed = {deploy.sha for deploy in deploys if deploy.state is TagState.DEPLOYED} | {main}
    new = []
    for tip in sorted(tips, key=lambda tip: tip.branch):
        source = Source.of(kind, tip.branch)
        if not is_proposable(kind, tip.branch, auto_propose) or seen.get(str(source)) == tip.sha:
            continue
        if tip.sha not in deployed and (str(source), tip.sha) not in proposed:
            new.append(NewTip(source, tip))
    return tuple(new)


def agent_of(top: Path, path: Path) -> AgentName | None:
    """Return the agent whose branches a change at `path` may concern; None if there is none.

    `top` is the folder `proposed`.
    """
    if path.name.endswith(".lock") or not path.is_relative_to(top):
        return None
    agent, *rest = path.relative_to(top).parts or ("",)
    inside = "/".join(rest)
    for git_directory in GIT_DIRECTORIES.values():
        name = inside.removeprefix(f"{git_directory}/")
        if name != inside and not name.startswith(("refs", "packed-refs")):
            return None  # `git status` writes an index, a commit its message
    return AgentName(agent) if agent else None

"""The rules of discovery: which tips of branches become proposals. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from meta.applied.source import Source, SourceKind
from meta.layout import Layout
from meta.model import Deploy, TagState
from meta.names import MANAGER, AgentName, Sha
from meta.proposed.tips import Tip
from meta.text import command_line


@dataclass(frozen=True, slots=True)
class Place:
    """A repo whose branches become proposals. `top` is a folder of hive's own, `git_directory` a path below it."""

    repo: Path
    top: Path
    git_directory: str

    @property
    def path(self) -> Path:
        """The git directory."""
        return self.top / self.git_directory


PLACES: Mapping[SourceKind, Callable[[Layout, AgentName], Place]] = {
    SourceKind.PUSH: lambda layout, agent: Place(layout.push_repo(agent), layout.push_repos, f"{agent}.git"),
    SourceKind.WORK_TREE: lambda layout, agent: Place(
        layout.proposed_config(agent), layout.proposed(agent).parent, f"{agent}/config/.git"
    ),
}
"""The repos of an agent whose branches become proposals."""
_NOISY = "config/.git"
"""The git directory below `proposed/<n>` in which most changes are of no branch."""


def address(source: Source, agent: AgentName) -> str:
    """Return where people find the branch of `source`. The recorded text of a push names no path that exists."""
    if source.kind is not SourceKind.PUSH:
        return str(source)
    return f"push/{agent}.git" if source.branch is None else f"push/{agent}.git branch {source.branch}"


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

    def remedy(self, agent: AgentName, push_git: Path) -> str:
        """Return how to remove the branch, for a commit that is refused. `push_git` is the path of the push repo.

        A branch of the work tree is removed in the manager's container: on the host git would obey what the manager
        wrote there.
        """
        ref = f"refs/heads/{self.tip.branch}"  # git takes the short names `-d` and `@` for something else
        if self.source.kind is SourceKind.PUSH:
            return f"`{command_line('git', 'push', push_git, f':{ref}')}` forgets it"
        git = ("git", "-C", f"/agents/{agent}/config", "update-ref", "-d", ref)
        return f"`{command_line('hive', 'shell', MANAGER, '--', *git)}` forgets it"


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


def agent_of(layout: Layout, path: Path) -> AgentName | None:
    """Return the agent whose branches a change at `path` may concern; None if none."""
    if path.name.endswith(".lock"):
        return None
    if path.is_relative_to(layout.push_repos):
        name = next(iter(path.relative_to(layout.push_repos).parts), "")
        return AgentName(name.removesuffix(".git")) if name.endswith(".git") else None
    trees = layout.state / "proposed"
    if not path.is_relative_to(trees):
        return None
    agent, *rest = path.relative_to(trees).parts or ("",)
    inside = "/".join(rest)
    name = inside.removeprefix(f"{_NOISY}/")
    if name != inside and not name.startswith(("refs", "packed-refs")):
        return None  # `git status` writes an index, a commit its message
    return AgentName(agent) if agent else None

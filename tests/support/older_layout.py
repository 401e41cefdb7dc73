"""The state directory of an older hive, made by code: applied repos that are not bare, with a flake of their own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from meta.layout import Layout
from meta.names import AgentName

FLAKE = '{ outputs = { self, hyperhive }: { nixosConfigurations.default = throw "older"; }; }\n'
LOGIN = '{"claudeAiOauth": "secret"}\n'
EDITED = "{ ... }: { } # edited by hand\n"
DEPLOYED = "{ ... }: { } # 2\n"
NOTE = "what the agent remembers\n"


def make(layout: Layout, agent: AgentName) -> Path:
    """Make an agent of an older hive, with tags, an edit that is not committed, and a login. Return its folder."""
    folder = layout.applied(agent)
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    for number in range(3):
        (folder / "agent.nix").write_text(f"{{ ... }}: {{ }} # {number}\n", encoding="utf-8")
        (folder / "flake.nix").write_text(FLAKE, encoding="utf-8")
        (folder / "flake.lock").write_text(f'{{"nodes": {number}}}\n', encoding="utf-8")
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", f"number {number}")
        for state in ("proposal", "approved", "building", "deployed") if number else ("deployed",):
            git(folder, "tag", f"{state}/{number}")
    git(folder, "tag", "-a", "-m", "does not build", "failed/3")
    (folder / "agent.nix").write_text(EDITED, encoding="utf-8")
    write(layout.agent_home(agent) / ".claude/.credentials.json", LOGIN)
    write(layout.agent_state(agent) / "notes.md", NOTE)
    return folder


def put_in_flight(folder: Path) -> None:
    """Add ids that were not at their end: 4 waits, 5 is approved, 6 is building. All are the newest commit."""
    for tag in ("proposal/4", "proposal/5", "approved/5", "proposal/6", "approved/6", "building/6"):
        git(folder, "tag", tag)


def move_to_older_places(layout: Layout, agent: AgentName) -> None:
    """Put login and work tree where the older hive had them: `claude` and `config` beside `state`."""
    (layout.agent_home(agent) / ".claude").rename(layout.agent(agent) / "claude")
    layout.agent_home(agent).rmdir()
    git(layout.agent(agent), "clone", "-q", str(layout.applied(agent)), "config")
    write(layout.agent(agent) / "config/draft.nix", "{ }\n")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def git(folder: Path, *words: str) -> str:
    """Run git as a person would, and return what it prints."""
    who = ("-c", "user.name=older", "-c", "user.email=older@localhost", "-c", "safe.directory=*")
    done = subprocess.run(["git", *who, *words], cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()

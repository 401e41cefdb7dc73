"""The state directory of an older hive, made by code: applied repos that are not bare, with a flake of their own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from meta.layout import Layout
from meta.names import AgentName

FLAKE = '{ outputs = { self, hyperhive }: { nixosConfigurations.default = throw "older"; }; }\n'
LOGIN = '{"claudeAiOauth": "secret"}\n'
EDITED = "{ ... }: { } # edited by hand\n"


def make(layout: Layout, agent: AgentName) -> Path:
    """Make an agent of an older hive, with tags, an edit that is not committed, and a login. Return its folder."""
    folder = layout.applied(agent)
    folder.mkdir(parents=True)
    _git(folder, "init", "-q", "-b", "main")
    for number in range(3):
        (folder / "agent.nix").write_text(f"{{ ... }}: {{ }} # {number}\n", encoding="utf-8")
        (folder / "flake.nix").write_text(FLAKE, encoding="utf-8")
        _git(folder, "add", ".")
        _git(folder, "commit", "-q", "-m", f"number {number}")
        for state in ("proposal", "approved", "building", "deployed") if number else ("deployed",):
            _git(folder, "tag", f"{state}/{number}")
    _git(folder, "tag", "-a", "-m", "does not build", "failed/3")
    (folder / "agent.nix").write_text(EDITED, encoding="utf-8")
    home = layout.agent_home(agent) / ".claude"
    home.mkdir(parents=True)
    (home / ".credentials.json").write_text(LOGIN, encoding="utf-8")
    return folder


def _git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=older", "-c", "user.email=older@localhost")
    subprocess.run(["git", *who, *words], cwd=folder, check=True)

"""The first commit of a new agent's repo, from the templates that come with the package."""

from __future__ import annotations

from importlib import resources

from meta.model import Role
from meta.names import AgentName

_NAME = b"@name@"


def files(name: AgentName, role: Role) -> dict[str, bytes]:
    """Return agent.toml, agent.nix and a flake.nix that offers the module to others, by their paths in the repo."""
    folder = resources.files("meta").joinpath("templates", str(role))
    return {
        entry.name: entry.read_bytes().replace(_NAME, name.encode("ascii"))
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.is_file()
    }

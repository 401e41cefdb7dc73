"""The first commit of a new agent's repo, from the templates that come with the package."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources

from meta.agent_toml.runtimes import SCRIPT, WITH_COMMAND, WITHOUT_CLI, RuntimeName
from meta.agent_toml.values import check_model
from meta.errors import BadInput
from meta.model import Role
from meta.names import AgentName

_NAME = b"@name@"
_RUNTIME = b"@runtime@"
_MODEL = b"#@model@\n"
_CODING = "coding"
_SETTINGS = "agent.toml"


@dataclass(frozen=True, slots=True)
class Start:
    """What a new agent begins with. `model` None: the runtime's default."""

    runtime: RuntimeName = SCRIPT
    model: str | None = None

    def check(self) -> None:
        """Raise BadInput if an agent cannot begin so."""
        if self.runtime in WITH_COMMAND:
            raise BadInput(
                f"runtime {self.runtime!r} has no CLI of its own, so a new agent cannot begin with it",
                'spawn it without a runtime, then `hive edit` it: runtime and command = ["..."]',
            )
        if self.model is None:
            return
        if self.runtime in WITHOUT_CLI:
            raise BadInput(f"runtime {self.runtime!r} has no model", "name a runtime that has one, such as claude")
        try:
            check_model(self.model)
        except ValueError as error:
            raise BadInput(f"model: {error}", "see docs/reference/agent-toml.md") from error


def files(name: AgentName, role: Role, start: Start = Start()) -> dict[str, bytes]:
    """Return agent.toml, agent.nix and a flake.nix that offers the module to others, by their paths in the repo.

    Raise BadInput if an agent cannot begin with `start`.
    """
    start.check()
    folder = resources.files("meta").joinpath("templates", str(role))
    found = {
        entry.name: entry.read_bytes().replace(_NAME, name.encode("ascii"))
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.is_file()
    }
    return found if start.runtime in WITHOUT_CLI else found | {_SETTINGS: _coding(name, start)}


def _coding(name: AgentName, start: Start) -> bytes:
    text = resources.files("meta").joinpath("templates", _CODING, _SETTINGS).read_bytes()
    model = f"model = {json.dumps(start.model)}\n" if start.model is not None else ""
    return (
        text.replace(_NAME, name.encode("ascii"))
        .replace(_RUNTIME, start.runtime.encode("ascii"))
        .replace(_MODEL, model.encode("ascii"))
    )

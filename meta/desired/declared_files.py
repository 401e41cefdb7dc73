"""The files that a declaration owns in an agent's repo, and what it makes of a commit's files. Pure.

agent.toml                    if settings are declared
agent.nix                     if a module is declared: it imports that module
declared.nix, declared/...    the module, a file or a folder

All other files are git's. Without a declared module, an agent.nix that a declaration wrote goes back to the template's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from meta.agent_toml import seed
from meta.agent_toml.settings import SETTINGS_FILE
from meta.model import Role
from meta.names import MANAGER, AgentName

NIX_FILE = "agent.nix"
MODULE_FILE = "declared.nix"
MODULE_FOLDER = "declared"

_WRAPPER = """# Written by hive: the module that services.hive.agents of the host's configuration declares.
# A change here counts as a change by git; when the declaration changes too, hive asks which one shall be.
{{
  imports = [ ./{module} ];
  hive.agent.file = ./agent.toml;
}}
"""
WRAPPERS = {module: _WRAPPER.format(module=module).encode() for module in (MODULE_FILE, MODULE_FOLDER)}
"""The text of agent.nix for a module in one file, and for one in a folder."""


@dataclass(frozen=True)
class DeclaredFiles:
    """What is declared of one agent. `settings` is agent.toml, None if git has it. `module` has the module's files."""

    settings: bytes | None
    module: Mapping[str, bytes]

    @cached_property
    def digest(self) -> str:
        """Return a text that differs if anything declared does."""
        owned = {**self.module, **({SETTINGS_FILE: self.settings} if self.settings is not None else {})}
        digest = hashlib.sha256()
        for path, content in sorted(owned.items()):
            digest.update(f"{path}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()

    def managed(self, files: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return those of `files` that this declaration owns or would replace."""
        wrapped = bool(self.module) or files.get(NIX_FILE) in WRAPPERS.values()
        return {
            path: content
            for path, content in files.items()
            if (path == SETTINGS_FILE and self.settings is not None)
            or (wrapped and (path == NIX_FILE or is_module(path)))
        }

    def wanted(self, agent: AgentName, files: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return the files that a commit with `files` has once the declaration is applied to it."""
        kept = {path: content for path, content in files.items() if path not in self.managed(files)}
        template = seed.files(agent, Role.MANAGER if agent == MANAGER else Role.AGENT)
        if self.module:
            kept |= {**self.module, NIX_FILE: WRAPPERS[MODULE_FILE if MODULE_FILE in self.module else MODULE_FOLDER]}
        elif NIX_FILE not in kept:
            kept[NIX_FILE] = template[NIX_FILE]
        if self.settings is not None:
            kept[SETTINGS_FILE] = self.settings
        elif SETTINGS_FILE not in kept:
            kept[SETTINGS_FILE] = template[SETTINGS_FILE]
        return kept


def is_module(path: str) -> bool:
    """Return True if `path` is where a declared module lies."""
    return path == MODULE_FILE or path.startswith(f"{MODULE_FOLDER}/")

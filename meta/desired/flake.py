"""flake.nix of the meta repo, rendered from desired state. Pure.

Each agent is one input, pinned by ref and rev, so that `nix flake lock` moves only that one: ref alone would follow a
moved tag, rev alone fails on a bare repo with nix 2.8. Inputs are not flakes (`flake = false`). So an agent cannot
extend the lock, and its repo is evaluated only if its module is used.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from meta.errors import BadInput
from meta.model import AgentEntry, Desired, Role
from meta.names import AgentName

FLAKE_FILE = "flake.nix"

HOST_PLATFORM = f"{os.uname().machine}-linux"
"""The platform of every container: a container runs on the host's kernel."""

MODULES = "modules"
"""The input with the modules that the host gives to every agent."""

_PORTS = 20_000
"""The first HIVE_PORT."""

_LITERAL = r'"((?:[^"\\]|\\.)*)";'
_NIXPKGS = re.compile(rf"^    nixpkgs\.url = {_LITERAL}$", re.MULTILINE)
_HYPERHIVE, _MODULES = (
    re.compile(rf"^    {name} = \{{ url = {_LITERAL} flake = false; \}};$", re.MULTILINE)
    for name in ("hyperhive", MODULES)
)

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "$": "\\$", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


class SharedUrls(NamedTuple):
    """The flake URLs of the shared inputs; "" for one that there is not.

    `modules` is a folder whose default.nix every system imports.
    """

    nixpkgs: str
    hyperhive: str
    modules: str = ""


def nix_string(text: str) -> str:
    """Return the Nix string literal for exactly `text`. Raise BadInput for a NUL, which Nix cannot represent."""
    if "\0" in text:
        raise BadInput("a NUL character cannot be written in Nix", "remove it")
    return f'"{text.translate(_ESCAPES)}"'


def input_name(agent: AgentName) -> str:
    """Return a name like "agent-alice"."""
    return f"agent-{agent}"


def input_url(agent: AgentName, entry: AgentEntry, applied_git: Callable[[AgentName], Path]) -> str:
    """Return the flake URL of the agent's pinned commit."""
    return git_url(applied_git(agent), f"refs/tags/proposal/{entry.pin.id}", entry.pin.sha)


def git_url(git_dir: Path, ref: str, commit: str) -> str:
    """Return the flake URL of one commit of a repo. nix 2.8 also needs `ref` to fetch from a bare repo."""
    return f"git+file://{quote(str(git_dir))}?ref={ref}&rev={commit}"


def port(entry: AgentEntry) -> int:
    """Return the loopback port of the agent's harness relay. It is derived from the uid range, so it is unique."""
    return _PORTS + (entry.settings.uid_base // 65_536) % 40_000


def identity(agent: AgentName, entry: AgentEntry) -> dict[str, str]:
    """Return the variables that identify the agent to its harness."""
    return {"HIVE_LABEL": agent, "HIVE_PORT": str(port(entry))}


def render(
    desired: Desired,
    applied_git: Callable[[AgentName], Path],
    nixpkgs: str = "",
    hyperhive: str = "",
    modules: str = "",
) -> bytes:
    """Return flake.nix. The same arguments give the same text; agents are sorted.

    `nixpkgs`, `hyperhive` and `modules` are flake URLs; `modules` is a folder whose default.nix every system imports.
    Without `nixpkgs` the outputs only name each agent's module (`agents.<n>`). With it there is a
    `nixosConfigurations.<n>` per agent as well.
    """
    agents = sorted(desired.agents.items())
    lines = [
        "# Written by hive from agents.json; the next deploy writes it again.",
        "{",
        '  description = "what every agent of this hive runs";',
        "",
        "  inputs = {",
        *(_input(name, entry, applied_git) for name, entry in agents),
        *_shared_inputs(nixpkgs, hyperhive, modules),
        "  };",
        "",
        "  outputs = inputs:",
        "  {",
        *(_module(name) for name, _ in agents),
        *((_system(name, entry, bool(hyperhive), bool(modules)) for name, entry in agents) if nixpkgs else []),
        "  };",
        "}",
        "",
    ]
    return "\n".join(lines).encode()


def shared_urls(text: bytes) -> SharedUrls:
    """Return the URLs of the shared inputs in a flake.nix that `render` made; "" for an input that it has not."""
    readable = text.decode("utf-8", "replace")
    return SharedUrls(*(_unescaped(pattern.search(readable)) for pattern in (_NIXPKGS, _HYPERHIVE, _MODULES)))


def _unescaped(literal: re.Match[str] | None) -> str:
    plain = {"n": "\n", "r": "\r", "t": "\t"}
    return re.sub(r"\\(.)", lambda escape: plain.get(escape[1], escape[1]), literal[1]) if literal is not None else ""


def _shared_inputs(nixpkgs: str, hyperhive: str, modules: str) -> list[str]:
    lines = [f"    nixpkgs.url = {nix_string(nixpkgs)};"] if nixpkgs else []
    if hyperhive:  # only its files: as a flake it would bring its own nixpkgs into the lock
        lines.append(f"    hyperhive = {{ url = {nix_string(hyperhive)}; flake = false; }};")
    if modules and nixpkgs:
        lines.append(f"    {MODULES} = {{ url = {nix_string(modules)}; flake = false; }};")
    return lines


def _module(name: AgentName) -> str:
    return f'    agents.{nix_string(name)} = "${{inputs.{nix_string(input_name(name))}}}/agent.nix";'


@lru_cache(maxsize=4096)  # a commit changes one agent of many: keep the lines of the others
def _input(name: AgentName, entry: AgentEntry, applied_git: Callable[[AgentName], Path]) -> str:
    url = nix_string(input_url(name, entry, applied_git))
    return f"    {nix_string(input_name(name))} = {{ url = {url}; flake = false; }};"


def _system(name: AgentName, entry: AgentEntry, templates: bool, modules: bool) -> str:
    template = "manager" if entry.settings.role is Role.MANAGER else "agent-base"
    # the template passes them to the harness's unit; without it they are for the agent's own module
    variables = "hive.agent.environment" if templates else "environment.variables"
    lines = [
        f"    nixosConfigurations.{nix_string(name)} = inputs.nixpkgs.lib.nixosSystem {{",
        "      modules = [",
        *([f'        "${{inputs.hyperhive}}/nix/templates/{template}.nix"'] if templates else []),
        *([f'        "${{inputs.{MODULES}}}/default.nix"'] if modules else []),
        f'        "${{inputs.{nix_string(input_name(name))}}}/agent.nix"',
        "        {",
        f"          nixpkgs.hostPlatform = {nix_string(HOST_PLATFORM)};",
        "          boot.isContainer = true;",
        f"          networking.hostName = {nix_string(name)};",
        f"          system.configurationRevision = {nix_string(entry.pin.sha)};",
        # without nixos-version, which names the commit, a commit that changes nothing gives the same system
        "          system.disableInstallerTools = inputs.nixpkgs.lib.mkDefault true;",
        *(f"          {variables}.{key} = {nix_string(value)};" for key, value in identity(name, entry).items()),
        "        }",
        "      ];",
        "    };",
    ]
    return "\n".join(lines)

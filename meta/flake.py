"""flake.nix of the meta repo, rendered from what is desired, and the one-agent change of flake.lock. Pure.

Each agent is one input, pinned by ref and rev, so that a plain `nix flake lock` moves just that one (ref alone
would follow a moved tag; rev alone fails on a bare repo with nix 2.8). An input is no flake (`flake = false`): an
agent cannot extend the lock, and its repo is evaluated only where its module is used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from meta.errors import BadInput
from meta.model import AgentEntry, Desired, Role
from meta.names import AgentName

FLAKE_FILE = "flake.nix"
LOCK_FILE = "flake.lock"

_SHARED = ("nixpkgs", "hyperhive")
_PORTS = 20_000
"""First port handed out as HIVE_PORT."""

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "$": "\\$", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def nix_string(text: str) -> str:
    """`text` as a Nix string literal that means exactly it. BadInput for a NUL, which Nix cannot hold."""
    if "\0" in text:
        raise BadInput("a NUL character cannot be written in Nix")
    return f'"{text.translate(_ESCAPES)}"'


def input_name(agent: AgentName) -> str:
    """ "agent-alice"."""
    return f"agent-{agent}"


def input_url(agent: AgentName, entry: AgentEntry, applied_git: Callable[[AgentName], Path]) -> str:
    """Where nix gets the agent's pinned commit from."""
    path = quote(str(applied_git(agent)))
    return f"git+file://{path}?ref=refs/tags/proposal/{entry.pin.id}&rev={entry.pin.sha}"


def port(entry: AgentEntry) -> int:
    """Loopback port of the agent's harness relay: follows from its uid range, so it is fixed and its own."""
    return _PORTS + (entry.settings.uid_base // 65_536) % 40_000


def render(desired: Desired, applied_git: Callable[[AgentName], Path], nixpkgs: str = "", hyperhive: str = "") -> bytes:
    """flake.nix. The same for the same arguments; agents are sorted.

    `nixpkgs` and `hyperhive` are flake URLs. Without `nixpkgs` the outputs only name each agent's module
    (`agents.<n>`); with it there is a `nixosConfigurations.<n>` per agent.
    """
    agents = sorted(desired.agents.items())
    inputs = [_input(name, entry, applied_git) for name, entry in agents]
    for name, url in (("nixpkgs", nixpkgs), ("hyperhive", hyperhive)):
        if url:
            inputs.append(f"    {name}.url = {nix_string(url)};")
    modules = [
        f'    agents.{nix_string(name)} = "${{inputs.{nix_string(input_name(name))}}}/agent.nix";' for name, _ in agents
    ]
    systems = [_system(name, entry, bool(hyperhive)) for name, entry in agents] if nixpkgs else []
    lines = [
        "# Written by hive from agents.json; the next deploy writes it again.",
        "{",
        '  description = "what every agent of this hive runs";',
        "",
        "  inputs = {",
        *inputs,
        "  };",
        "",
        "  outputs = inputs: {",
        *modules,
        *systems,
        "  };",
        "}",
        "",
    ]
    return "\n".join(lines).encode()


@lru_cache(maxsize=4096)  # a commit changes one agent of many: the lines of the others are at hand
def _input(name: AgentName, entry: AgentEntry, applied_git: Callable[[AgentName], Path]) -> str:
    url = nix_string(input_url(name, entry, applied_git))
    return f"    {nix_string(input_name(name))} = {{ url = {url}; flake = false; }};"


def _system(name: AgentName, entry: AgentEntry, templates: bool) -> str:
    template = "manager" if entry.settings.role is Role.MANAGER else "agent"
    lines = [
        f"    nixosConfigurations.{nix_string(name)} = inputs.nixpkgs.lib.nixosSystem {{",
        "      modules = [",
        *([f'        "${{inputs.hyperhive}}/nix/templates/{template}.nix"'] if templates else []),
        f'        "${{inputs.{nix_string(input_name(name))}}}/agent.nix"',
        "        {",
        "          boot.isContainer = true;",
        f"          networking.hostName = {nix_string(name)};",
        f"          system.configurationRevision = {nix_string(entry.pin.sha)};",
        f"          environment.variables.HIVE_LABEL = {nix_string(name)};",
        f"          environment.variables.HIVE_PORT = {nix_string(str(port(entry)))};",
        "        }",
        "      ];",
        "    };",
    ]
    return "\n".join(lines)


def merge_lock(head: bytes | None, candidate: bytes, agent: AgentName, keep: Collection[AgentName]) -> bytes:
    """HEAD's flake.lock with `agent`'s input as the candidate locked it: what others committed meanwhile stays.

    Inputs of agents that are not in `keep` go. BadInput when one of the two is no flake.lock.
    """
    name = input_name(agent)
    try:
        theirs = json.loads(candidate)
        ours = json.loads(head) if head is not None else theirs
        root, other = ours["nodes"][ours["root"]], theirs["nodes"][theirs["root"]]
        if any(shared in other["inputs"] and shared not in root.get("inputs", {}) for shared in _SHARED):
            return candidate  # the first lock with nixpkgs: HEAD has nothing to keep
        ours["nodes"][name] = theirs["nodes"][other["inputs"][name]]
        root.setdefault("inputs", {})[name] = name
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(error) from error
    return prune_lock(json.dumps(ours).encode(), keep)


def prune_lock(lock: bytes, keep: Collection[AgentName]) -> bytes:
    """`lock` without the inputs of agents that are not in `keep`. BadInput when it is no flake.lock."""
    names = {input_name(agent) for agent in keep}
    try:
        content = json.loads(lock)
        inputs = content["nodes"][content["root"]].get("inputs", {})
        for name in [name for name in inputs if name.startswith("agent-") and name not in names]:
            content["nodes"].pop(inputs.pop(name), None)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(error) from error
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def _damaged(error: Exception) -> BadInput:
    return BadInput(f"flake.lock of the meta repo is damaged ({error!r})", "remove it by a commit on meta")

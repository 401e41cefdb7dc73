"""flake.lock of the meta repo: read it, change the input of one agent. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from urllib.parse import unquote, urlsplit

from meta.desired.flake import input_name
from meta.errors import BadInput
from meta.names import AgentName

LOCK_FILE = "flake.lock"
_SHARED = ("nixpkgs", "hyperhive")


def revision(lock: bytes | None, name: str) -> str:
    """Return the revision of the shared input `name` in `lock`, or its content hash; "" if it is not there."""
    try:
        content = json.loads(lock or b"{}")
        locked = content["nodes"][content["nodes"][content["root"]]["inputs"][name]]["locked"]
        return str(locked.get("rev") or locked["narHash"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def shared_hashes(lock: bytes | None) -> tuple[str, ...]:
    """Return the `narHash` of each input that is not an agent's, inputs of inputs included."""
    try:
        nodes = json.loads(lock or b'{"nodes": {}}')["nodes"]
        hashes = [
            node.get("locked", {}).get("narHash") for name, node in nodes.items() if not name.startswith("agent-")
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()
    return tuple(str(each) for each in hashes if each)


def local_paths(lock: bytes | None) -> tuple[Path, ...]:
    """Return the directories and repos of this host that are shared inputs in `lock`."""
    try:
        nodes = json.loads(lock or b'{"nodes": {}}')["nodes"]
        inputs = [(name, node.get("locked", {})) for name, node in nodes.items()]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()
    paths = []
    for name, locked in inputs:
        where = str(locked.get("path") or unquote(urlsplit(str(locked.get("url", ""))).path))
        is_local = locked.get("type") == "path" or str(locked.get("url", "")).startswith("file:")
        if is_local and not name.startswith("agent-") and Path(where).is_absolute():
            paths.append(Path(where))
    return tuple(paths)


def merge_lock(head: bytes | None, candidate: bytes, agent: AgentName, keep: Collection[AgentName]) -> bytes:
    """Return HEAD's flake.lock with `agent`'s input as in the candidate's. The inputs of other agents stay as HEAD has
    them.

    Drop inputs of agents that are not in `keep`. Raise BadInput if one of the two is not a flake.lock.
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
    """Return `lock` without the inputs of agents that are not in `keep`. Raise BadInput if it is not a flake.lock."""
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
    return BadInput(f"flake.lock of the meta repo is damaged ({error!r})", "remove it with a commit on meta")

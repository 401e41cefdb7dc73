"""flake.lock of the meta repo: read it, change the input of one agent, change the shared inputs. Pure.

The shared inputs are nixpkgs, hive and the modules for every agent, with the inputs that these have. All agents have
one node each beside them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from meta.desired.flake import input_name
from meta.errors import BadInput
from meta.names import AgentName

LOCK_FILE = "flake.lock"
_AGENT = input_name(AgentName(""))
_COMMIT = re.compile(r"[0-9a-f]{40}")
_STORE = Path("/nix/store")
_SHORT_REV, _SHORT_HASH = 12, 19


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
        hashes = [node.get("locked", {}).get("narHash") for name, node in nodes.items() if not name.startswith(_AGENT)]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()
    return tuple(str(each) for each in hashes if each)


def local_paths(lock: bytes | None) -> tuple[Path, ...]:
    """Return the directories and repos of this host that are shared inputs in `lock`."""
    try:
        nodes = json.loads(lock or b'{"nodes": {}}')["nodes"]
        paths = [_local_path(node) for name, node in nodes.items() if not name.startswith(_AGENT)]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()
    return tuple(path for path in paths if path is not None)


def _local_path(node: Mapping[str, Any]) -> Path | None:
    locked = node.get("locked", {})
    where = Path(str(locked.get("path") or unquote(urlsplit(str(locked.get("url", ""))).path)))
    is_local = locked.get("type") == "path" or str(locked.get("url", "")).startswith("file:")
    return where if is_local and where.is_absolute() else None


def short(revision: str) -> str:
    """Return the beginning of a `revision`: 12 digits of a commit, as many of a content hash."""
    if revision.startswith("sha256-"):
        return revision[:_SHORT_HASH]
    return revision[:_SHORT_REV] if _COMMIT.fullmatch(revision) else revision


def shared(lock: bytes | None) -> str:
    """Return a text that is the same for two locks with the same shared inputs; "" for a lock without any."""
    try:
        nodes = _shared_nodes(json.loads(lock or b"{}"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    return json.dumps(nodes, sort_keys=True) if len(nodes) > 1 else ""


def merge_lock(head: bytes | None, candidate: bytes, agent: AgentName, keep: Collection[AgentName]) -> bytes:
    """Return the candidate's flake.lock, in which the inputs of agents other than `agent` are as HEAD has them.

    Drop inputs of agents that are not in `keep`. Raise BadInput if one of the two is not a flake.lock.
    """
    try:
        theirs = json.loads(candidate)
        ours = json.loads(head) if head is not None else theirs
        name = input_name(agent)
        agents = {**_agent_nodes(ours), name: theirs["nodes"][theirs["nodes"][theirs["root"]]["inputs"][name]]}
        merged = _joined(theirs, agents)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(error) from error
    return prune_lock(json.dumps(merged).encode(), keep)


def with_shared(lock: bytes, source: bytes) -> bytes:
    """Return `lock` with the shared inputs of `source`. Raise BadInput if one of the two is not a flake.lock."""
    try:
        return _text(_joined(json.loads(source), _agent_nodes(json.loads(lock))))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(error) from error


def without_local(lock: bytes) -> bytes:
    """Return `lock` without the shared inputs that are directories or repos of this host, outside the nix store.

    Then nix reads them again, because their content may have changed. Raise BadInput if it is not a flake.lock.
    """
    try:
        content = json.loads(lock)
        nodes, root = content["nodes"], content["root"]
        inputs = nodes[root].get("inputs", {})
        stays = {name: node for name, node in inputs.items() if not _changes(name, nodes[str(node)])}
        stripped = {**content, "nodes": {**nodes, root: {**nodes[root], "inputs": stays}}}
        return _text(_joined(stripped, _agent_nodes(content)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(error) from error


def prune_lock(lock: bytes, keep: Collection[AgentName]) -> bytes:
    """Return `lock` without the inputs of agents that are not in `keep`. Raise BadInput if it is not a flake.lock."""
    names = {input_name(agent) for agent in keep}
    try:
        content = json.loads(lock)
        inputs = content["nodes"][content["root"]].get("inputs", {})
        for name in [name for name in inputs if name.startswith(_AGENT) and name not in names]:
            content["nodes"].pop(inputs.pop(name), None)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(error) from error
    return _text(content)


def _changes(name: str, node: Mapping[str, Any]) -> bool:
    """Return True if the content of the shared input `name` may change while its URL stays."""
    path = _local_path(node)
    return not name.startswith(_AGENT) and path is not None and not path.is_relative_to(_STORE)


def _agent_nodes(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the node of each agent's input, by the input's name."""
    nodes = content["nodes"]
    inputs = nodes[content["root"]].get("inputs", {})
    return {name: nodes[node] for name, node in inputs.items() if name.startswith(_AGENT)}


def _shared_nodes(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nodes of the shared inputs and the root, which has only those inputs."""
    nodes, root = content["nodes"], content["root"]
    inputs = {name: node for name, node in nodes[root].get("inputs", {}).items() if not name.startswith(_AGENT)}
    kept: dict[str, Any] = {root: {**nodes[root], "inputs": inputs}}
    waiting = [*inputs.values()]
    while waiting:
        name = waiting.pop()
        if isinstance(name, str) and name not in kept:  # a list follows an input that is found by itself
            kept[name] = nodes[name]
            waiting += nodes[name].get("inputs", {}).values()
    return kept


def _joined(source: Mapping[str, Any], agents: Mapping[str, Any]) -> dict[str, Any]:
    """Return a lock with the shared inputs of `source` and the inputs of `agents`."""
    nodes, root = _shared_nodes(source), source["root"]
    for name, node in agents.items():
        key = name
        while key in nodes:  # an input of nixpkgs or of hive may have any name
            key += "_"
        nodes[key] = node
        nodes[root]["inputs"][name] = key
    return {**source, "nodes": nodes}


def _text(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def _damaged(error: Exception) -> BadInput:
    return BadInput(f"flake.lock of the meta repo is damaged ({error!r})", "remove it with a commit on meta")

"""The useful part of nix's messages, for the agent's author. Pure. Knows the texts of 2.8, 2.26 and 2.34.

In an evaluation the last `error:` block names the cause, because newer versions print a trace first. In a build the
first block names it, because the others are only its consequences. Store paths of inputs become `agent.nix:3:5`,
`nixpkgs/lib/modules.nix:9:1`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from meta.nix.store import Store
from meta.text import one_line, scrub

MEMORY = "the evaluation needs more memory than it may have"
_ERROR = re.compile(r"^[ \t]*+error:", re.MULTILINE)
_GIT = re.compile(r"program 'git' failed|Git re|revspec")
_FETCHING = re.compile(r"while fetching the input '[^'\n]*'")
_OF_GIT = re.compile(r"^(?:remote: )?fatal: .*", re.MULTILINE)
_LOST_OBJECT = re.compile(r"repository corruption|unable to read [0-9a-f]{40}|Cannot find Git revision|bad object")
_LOST_PATH = re.compile(r"getting status of '(/[^'\n]*)': No such file|path '(/[^'\n]*)' does not exist")
_PINNED = re.compile(r'"(git\+file://[^"\n]*[?&]rev=([0-9a-f]{40}))"')
_BUILD_ERROR = re.compile(r"^[ \t]*+error: (?=builder for|Cannot build|build of|hash mismatch)", re.MULTILINE)
_HINTS = re.compile(r"^[ \t]*+(?:\(use '--show-trace'.*\)|For full logs, run.*|nix log .*)\n?", re.MULTILINE)
_PASSING = re.compile(
    r"No space left on device|Disk quota exceeded|[Cc]annot connect to (?:socket|daemon)|[Cc]annot allocate memory"
    r"|[Dd]atabase is (?:busy|locked)|disk I/O error|database or disk is full"
    r"|unexpected end-of-file|[Tt]oo many open files|interrupted by the user"
    r"|\.drv' (?:is not valid|does not exist)"
    r"|Read-only file system|attempt to write a readonly database"
)
_READ_ONLY = re.compile(r"Read-only file system|readonly database")
_NETWORK = re.compile(r"[Uu]nable to download|[Cc]ould not resolve host|Couldn't (?:resolve|connect)|timed out")
_MEMORY = re.compile(r"out of memory|std::bad_alloc|GC Warning: (?:Failed to expand heap|Out of Memory)", re.IGNORECASE)
_OF_A_BUILDER = re.compile(r"error: (?:builder for|Cannot build|build of)")
_CHATTER = re.compile(r"(?:these|this) .*derivations? will be (?:built|fetched)|\s+/\S+$|building '|warning: |copying ")
_HASHED = re.compile(r"/[^\s'\":]*/[0-9abcdfghijklmnpqrsvwxyz]{32}-")
_LOG_LINES = 10
_SHARED = {"nixpkgs": "nixpkgs/", "hyperhive": "hive/", "modules": "agentModules/"}


def evaluation_complaint(stderr: str, places: Mapping[str, str] | None = None) -> str:
    """Return the useful end of the messages of an evaluation or a lock: the last `error:` block, without trace.

    If git failed, add git's own message and the input that was being fetched. For `places` see the function.
    """
    starts = [match.start() for match in _ERROR.finditer(stderr)]
    if not starts:
        return _clean(stderr, places)
    before, end = stderr[: starts[-1]], stderr[starts[-1] :].strip()
    of_git = [line.strip() for line in _OF_GIT.findall(before)] if _GIT.search(end) else []
    return _clean("\n".join([end, *of_git[:3], *_FETCHING.findall(before)[-1:]]), places)


def build_complaint(stderr: str, places: Mapping[str, str] | None = None) -> str:
    """Return the first `error:` block of a build with the end of the builder's log (2.8 prints that before it)."""
    first = _BUILD_ERROR.search(stderr) or _ERROR.search(stderr)
    if first is None:
        return _clean(stderr, places)
    following = _ERROR.search(stderr, first.end())
    block = stderr[first.start() : following.start() if following else len(stderr)].strip()
    written = [line for line in stderr[: first.start()].split("\n") if line.strip() and not _CHATTER.match(line)]
    if written and "log lines:" not in block:
        block = "\n".join([block, f"last {min(len(written), _LOG_LINES)} log lines:", *_quote(written[-_LOG_LINES:])])
    return _clean(block, places)


def _quote(lines: list[str]) -> list[str]:
    return [f"> {line}" for line in lines]


_SUMMARY_MOST = 2000
"""Characters of a line that are looked at: the time to find hashes grows with the square of its length."""


def summary(complaint: str) -> str:
    """Return the first line of a complaint that is not empty, without `error:` and without hashes of store paths.

    If that line only reports that git failed, add git's own message.
    """
    lines = [line.strip().removeprefix("error:").strip() for line in complaint.split("\n")]
    first = next((line for line in lines if line), "nix printed no message")
    git = _OF_GIT.search(complaint) if first.startswith("program 'git' failed") else None
    return one_line(_HASHED.sub("", (f"{first}: {git[0]}" if git else first)[:_SUMMARY_MOST]), 300)


def remedy(complaint: str, store: str) -> str:
    """Return what to do about a complaint that is permanent. `store` is the store's directory."""
    if _LOST_OBJECT.search(complaint):
        return "a repo of the meta flake has lost an object: `git fsck` in it, then restore it from a backup"
    lost = _LOST_PATH.search(complaint.partition("\n")[0])
    path = "/" + (lost[1] or lost[2]).lstrip("/") if lost else store
    if path != store and not path.startswith(f"{store}/"):
        return f"put {path} back, or set HIVE_NIXPKGS and HIVE_HYPERHIVE to where they are now"
    return "see the log"


def is_git(complaint: str) -> bool:
    """Return True if git failed, not nix."""
    return _GIT.search(complaint) is not None


def is_fetching(complaint: str) -> bool:
    """Return True if the complaint names the input that was being fetched."""
    return _FETCHING.search(complaint) is not None


def fetching(flake: str, lock: str) -> list[str]:
    """Return the inputs of a flake.nix that its flake.lock lacks. Each is worded as newer versions print it."""
    return [f"while fetching the input '{url}'" for url, sha in _PINNED.findall(flake) if sha not in lock]


def passes(complaint: str, *, network: bool = False) -> bool:
    """Return True if a retry may succeed: a full disk, a lost daemon, with `network` also a lost network.

    Only the first line counts, and never a line of a builder. So a text of an agent rarely decides this.
    """
    line = next((line for line in complaint.split("\n") if line.strip()), "")
    if _OF_A_BUILDER.search(line):
        return False
    return _PASSING.search(line) is not None or (network and _NETWORK.search(line) is not None)


def is_read_only(complaint: str) -> bool:
    """Return True if nix may not write where its store or its database is."""
    return _READ_ONLY.search(complaint.partition("\n")[0]) is not None


def is_memory(stderr: str) -> bool:
    """Return True if nix reached its memory limit."""
    return _MEMORY.search(stderr) is not None


def places(lock: bytes, agent_input: str, store: Store) -> dict[str, str]:
    """Return, per input of a flake.lock, the prefix of its files in messages and the prefix for people.

    Files of the input `agent_input` are named as in its repo, others with their input's name in front.
    Empty for a damaged flake.lock.
    """
    try:
        content = json.loads(lock)
        nodes = content["nodes"]
        inputs = nodes[content["root"]]["inputs"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    prefixes: dict[str, str] = {}
    for name, node in inputs.items():
        locked = nodes.get(node, {}).get("locked", {}) if isinstance(node, str) else {}
        prefix = "" if name == agent_input else _SHARED.get(name, f"{name}/")
        path = store.input_path(str(locked.get("narHash", "")))
        if path is not None:
            prefixes[f"{path}/"] = prefix
        if locked.get("url") and locked.get("rev"):
            prefixes[f"{locked.get('type', 'git')}+{locked['url']}"] = prefix
    return prefixes


def _clean(text: str, places: Mapping[str, str] | None) -> str:
    return scrub(_HINTS.sub("", _named(text, places or {}))).strip()


def _named(text: str, places: Mapping[str, str]) -> str:
    """Return `text` with the prefixes of `places`.

    Newer versions print a file as «git+file:///…?…»/agent.nix.
    """
    for prefix, name in places.items():
        if prefix.startswith("git+"):
            text = re.sub(f"«{re.escape(prefix)}[^»\n]*»/", name, text)
        else:
            text = text.replace(prefix, name)
    return text

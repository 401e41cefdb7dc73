"""The revision that a build records, as one text: that of hive, and of the other shared inputs that it used. Pure."""

from __future__ import annotations

from typing import NamedTuple

from meta.desired.flake_lock import short

_NIXPKGS, _MODULES = ", nixpkgs ", ", agentModules "


class _Parts(NamedTuple):
    hive: str
    nixpkgs: str
    modules: str


def revision_of(hive: str, nixpkgs: str, modules: str = "") -> str:
    """Return the revisions as one text, shortened: that of hive, and of the others unless they are ""."""
    text = f"{short(hive)}{_NIXPKGS}{short(nixpkgs)}" if nixpkgs else short(hive)
    return f"{text}{_MODULES}{short(modules)}" if modules else text


def agrees(revision: str, hive: str, nixpkgs: str, modules: str = "") -> bool:
    """Return True if the others are those of `revision`. An empty hive or nixpkgs is unknown and not compared.

    Without `modules` there were none, which is another system if there are some now.
    """
    now = _parts(revision)
    known = (not hive or short(hive) == now.hive) and (not nixpkgs or short(nixpkgs) == now.nixpkgs)
    return known and short(modules) == now.modules


def difference(built: str, now: str) -> str:
    """Return in words what a build on the revision `built` had that is another in `now`."""
    old, new = _parts(built), _parts(now)
    # an unknown nixpkgs is not compared; without modules for every agent there are none
    pairs = {
        "hive": (old.hive, new.hive),
        "nixpkgs": (old.nixpkgs, new.nixpkgs) if old.nixpkgs and new.nixpkgs else ("", ""),
        "agentModules": (old.modules or "none", new.modules or "none"),
    }
    moved = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]} or {"hive": pairs["hive"]}
    if len(moved) == 1:
        ((name, (before, after)),) = moved.items()
        return f"built with {name} {before}, this is {after}"
    before, after = (_listed([f"{name} {pair[side]}" for name, pair in moved.items()]) for side in (0, 1))
    return f"built with {before}, this is {after}"


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _parts(revision: str) -> _Parts:
    rest, _, modules = revision.partition(_MODULES)
    hive, _, nixpkgs = rest.partition(_NIXPKGS)
    return _Parts(hive, nixpkgs, modules)

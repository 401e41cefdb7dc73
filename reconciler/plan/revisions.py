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
    if old.hive != new.hive or bool(old.nixpkgs) != bool(new.nixpkgs):
        return f"built with hive {built}, this is {now}"
    words = []
    if old.nixpkgs != new.nixpkgs:
        words.append(f"built with nixpkgs {old.nixpkgs}, this is {new.nixpkgs}")
    if old.modules != new.modules:
        words.append(f"built with agentModules {old.modules or 'none'}, now {new.modules or 'none'}")
    return ", ".join(words)


def _parts(revision: str) -> _Parts:
    rest, _, modules = revision.partition(_MODULES)
    hive, _, nixpkgs = rest.partition(_NIXPKGS)
    return _Parts(hive, nixpkgs, modules)

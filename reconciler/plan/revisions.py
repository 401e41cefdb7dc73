"""The revision that a build records, as one text: that of hive, and of nixpkgs if the builder uses it. Pure."""

from __future__ import annotations

from meta.desired.flake_lock import short

_WITH = ", nixpkgs "


def revision_of(hive: str, nixpkgs: str) -> str:
    """Return the two revisions as one text, shortened: that of hive, and of nixpkgs unless it is ""."""
    return f"{short(hive)}{_WITH}{short(nixpkgs)}" if nixpkgs else short(hive)


def agrees(revision: str, hive: str, nixpkgs: str) -> bool:
    """Return True if `hive` and `nixpkgs` are those of `revision`. An empty one is not compared."""
    known_hive, _, known_nixpkgs = revision.partition(_WITH)
    return (not hive or short(hive) == known_hive) and (not nixpkgs or short(nixpkgs) == known_nixpkgs)


def difference(built: str, now: str) -> str:
    """Return in words what a build on the revision `built` had that is another in `now`."""
    (old_hive, _, old), (new_hive, _, new) = built.partition(_WITH), now.partition(_WITH)
    if old_hive != new_hive or not old or not new:
        return f"built with hive {built}, this is {now}"
    return f"built with nixpkgs {old}, this is {new}"

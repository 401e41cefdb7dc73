"""What an approval is bound to. Pure.

Whoever approves has seen one commit built from one set of shared inputs into one derivation, to run in a container
with certain settings. Shared inputs may move before the build. Then all is computed again: the same derivation and
settings keep the approval, anything else has changed since it was shown.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from meta.names import Sha

_TRAILER = "Hive-Shown-"


@dataclass(frozen=True, slots=True)
class Shown:
    """What a card showed. `nixpkgs` and `hive` are the locked revisions ("" where the flake has no such input).

    `derivation` is the .drv's path, `settings` ContainerSettings.fingerprint().
    """

    commit: Sha
    nixpkgs: str
    hive: str
    derivation: str
    settings: str

    def fingerprint(self) -> str:
        """20 hex digits that change whenever a part does: what the approving client sends back."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:20]

    def trailers(self) -> dict[str, str]:
        """As trailers of the tag `approved/<id>`, so that the binding survives the database."""
        return {f"{_TRAILER}{name.capitalize()}": value for name, value in asdict(self).items()}


def from_trailers(trailers: Mapping[str, str]) -> Shown | None:
    """What `trailers` wrote; None when one is missing (an approval of before, or of builder `plain`)."""
    known = {part.name: trailers.get(f"{_TRAILER}{part.name.capitalize()}", "") for part in fields(Shown)}
    if not (known["commit"] and known["settings"]):
        return None  # empty ones are not written
    return Shown(Sha(known["commit"]), known["nixpkgs"], known["hive"], known["derivation"], known["settings"])


def objection(shown: Shown, now: Shown) -> str | None:
    """Why the approval of `shown` does not hold for `now`, in words; None when it holds."""
    if shown.commit != now.commit:
        return f"changed since it was shown: the commit was {shown.commit[:12]}, now it is {now.commit[:12]}"
    if shown.settings != now.settings:
        return "changed since it was shown: the container's settings are others"
    if shown.derivation != now.derivation:
        moved = [
            f"{name} moved from {old[:12] or 'none'} to {new[:12] or 'none'}"
            for name, old, new in (("nixpkgs", shown.nixpkgs, now.nixpkgs), ("hive", shown.hive, now.hive))
            if old != new
        ]
        return f"changed since it was shown: {' and '.join(moved) or 'it evaluates to another system'}"
    return None

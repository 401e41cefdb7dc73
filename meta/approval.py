"""The binding of an approval to what the approver saw. Pure.

An approver sees one commit, built from one set of shared inputs into one derivation, for a container with certain
settings. Shared inputs may move before the build. Then hive computes the binding again: the approval holds if the
derivation and the settings are the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from meta.names import Sha

_TRAILER = "Hive-Shown-"


@dataclass(frozen=True, slots=True)
class Binding:
    """The facts that an approval is bound to: those on the card.

    `nixpkgs`, `hive` and `modules` are the locked revisions, "" if the flake has no such input. `derivation` is the
    path of the .drv, `settings` is ContainerSettings.fingerprint().
    """

    commit: Sha
    nixpkgs: str
    hive: str
    derivation: str
    settings: str
    modules: str = ""

    def fingerprint(self) -> str:
        """Return 20 hex digits that change whenever a part does. The approving client sends them back."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:20]

    def trailers(self) -> dict[str, str]:
        """Return the trailers of the tag `approved/<id>`, so that the binding survives the loss of the database."""
        return {f"{_TRAILER}{name.capitalize()}": value for name, value in asdict(self).items()}


def from_trailers(trailers: Mapping[str, str]) -> Binding | None:
    """Return the binding in `trailers`; None if there is none in them (an older approval, or builder `plain`)."""
    values = {part.name: trailers.get(f"{_TRAILER}{part.name.capitalize()}", "") for part in fields(Binding)}
    if not (values["commit"] and values["settings"]):
        return None  # a tag has no empty trailers
    shown = Sha(values["commit"]), values["nixpkgs"], values["hive"], values["derivation"], values["settings"]
    return Binding(*shown, modules=values["modules"])


def objection(shown: Binding, now: Binding) -> str | None:
    """Return why an approval of `shown` is not valid for `now`; None if it is valid."""
    if shown.commit != now.commit:
        return f"changed since it was shown: the commit was {shown.commit[:12]}, now it is {now.commit[:12]}"
    if shown.settings != now.settings:
        return "changed since it was shown: the container's settings are others"
    if shown.derivation != now.derivation:
        moved = [
            f"{name} moved from {old[:12] or 'none'} to {new[:12] or 'none'}"
            for name, old, new in (
                ("nixpkgs", shown.nixpkgs, now.nixpkgs),
                ("hive", shown.hive, now.hive),
                ("agentModules", shown.modules, now.modules),
            )
            if old != new
        ]
        return f"changed since it was shown: {' and '.join(moved) or 'it evaluates to another system'}"
    return None

"""The table as settings of a systemd unit, for the harness in a NixOS container and for shells in it.

systemd cannot express everything: see `meta/process/seccomp/reference.py` for what becomes of each row.
"""

from __future__ import annotations

import errno

from meta.process.seccomp.table import CALLS, FAMILIES, Call

REPLACED = {"unshare": "RestrictNamespaces", "clone": "RestrictNamespaces", "personality": "LockPersonality"}
"""Rows with a condition for which systemd has a setting of its own."""


def settings() -> dict[str, str]:
    """Return the settings, by name. nix/modules/agent/seccomp.json is written from them."""
    calls = " ".join(f"{call.name}:{errno.errorcode[call.error]}" for call in CALLS if call.when is None)
    return {
        "SystemCallArchitectures": "native",
        "SystemCallFilter": f"~{calls}",
        "RestrictAddressFamilies": " ".join(family.name for family in FAMILIES),
        "RestrictNamespaces": "true",
        "LockPersonality": "true",
        "RestrictRealtime": "true",
        "KeyringMode": "private",
    }


def in_unit(call: Call) -> str:
    """Return the name of the setting that refuses `call`, "" if none does."""
    return "SystemCallFilter" if call.when is None else REPLACED.get(call.name, "")

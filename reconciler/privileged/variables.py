"""The variables of a container's conf file that the start scripts of NixOS read. Pure.

The script of the unit container@ changes with the host's nixpkgs, and newer ones end at an unset variable (`set -u`).
So hive writes every variable that any known script reads, also those that it leaves empty. `SINCE` names the first
release whose script reads a variable (read: scripts of 2020, 2025 and 2026). SYSTEM_PATH and EXTRA_NSPAWN_FLAGS are
added by the template. The unit itself sets INSTANCE and root.
"""

from __future__ import annotations

from collections.abc import Mapping

SINCE: Mapping[str, str] = {
    "PRIVATE_NETWORK": "20.09",
    "HOST_ADDRESS": "20.09",
    "LOCAL_ADDRESS": "20.09",
    "HOST_ADDRESS6": "20.09",
    "LOCAL_ADDRESS6": "20.09",
    "HOST_BRIDGE": "20.09",
    "HOST_PORT": "20.09",
    "INTERFACES": "20.09",
    "MACVLANS": "20.09",
    "SYSTEM_PATH": "20.09",
    "EXTRA_NSPAWN_FLAGS": "20.09",
    "FLAKE": "25.05",
    "NETWORK_NAMESPACE_PATH": "25.05",
    "PRIVATE_USERS": "25.05",
    "LOCAL_MAC_ADDRESS": "26.05",
    "COPY_RESOLV_CONF": "26.05",
}

_OF_THE_TEMPLATE = frozenset({"SYSTEM_PATH", "EXTRA_NSPAWN_FLAGS"})


def written(addresses: tuple[str, str] | None) -> list[str]:
    """Return the lines of all variables but the template's own. `addresses`: the host's and the container's.

    PRIVATE_USERS stays empty although the container has a range of uids: a value would also make the script bind the
    host's profile and gc roots with `idmap`, and the container's root could write there as the host's root.
    """
    host, local = addresses or ("", "")
    values = {
        "PRIVATE_NETWORK": "1",
        "HOST_ADDRESS": host,
        "LOCAL_ADDRESS": local,
        # older scripts copy it always; only a container with a network has a use for it
        "COPY_RESOLV_CONF": "0" if addresses is None else "1",
    }
    return [f"{name}={values.get(name, '')}" for name in SINCE if name not in _OF_THE_TEMPLATE]

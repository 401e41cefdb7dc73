"""The limits and isolation that backend `local` enforces on this host, in words."""

from __future__ import annotations

import os

from meta.config import Config
from meta.process.agent_programs import agent_programs, describe
from meta.process.privilege import ROOT_REMEDY
from reconciler.backends.base import Abilities, soft_note
from reconciler.backends.local.cgroups import Cgroups
from reconciler.backends.local.enclosure import Host


def abilities(host: Host, config: Config, cgroups: Cgroups) -> Abilities:
    """Return what is enforced, with a note for each thing that is not."""
    notes = []
    if host.sandbox is None:
        isolation = f"none: {host.why}"
        allowed = "every agent" if config.isolation == "unsafe-none" else "only the runtime `script`"
        notes.append(f"without bubblewrap {allowed} starts, and sees the host's files: {host.remedy}".rstrip(": "))
    else:
        isolation = "bubblewrap: own mount, pid, network, ipc and uts namespace"
    if host.as_root and config.fixed_uids:
        uids = "each agent has its own uid"
    elif host.host_root:
        uids = "no agent starts: it would be the host's root"
        notes.append(f"{uids}{': ' if host.one_uid else ''}{host.one_uid}; {ROOT_REMEDY}")
    else:
        uids = f"every agent runs as uid {os.geteuid()}, the daemon's own"
        why = host.one_uid or "hive does not run as root"
        notes.append(f"agents are separated by namespaces only, not by uid: {why}")
    if "not enforced" in cgroups.summary:
        notes.append(f"limits {cgroups.summary}")
    notes += soft_note(soft=config.soft_scopes)
    found = describe(agent_programs(config))
    path = os.environ.get("PATH", os.defpath)
    return Abilities(isolation, cgroups.summary, uids, tuple(notes), found, path, config.agent_programs)

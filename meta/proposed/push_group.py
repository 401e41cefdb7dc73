"""The group whose members may push to push.git: whether there is one, and whether the repos are its."""

from __future__ import annotations

import grp
from collections.abc import Callable

from meta.config import Config

Groups = Callable[[str], int | None]
"""The gid of a group; None where there is none of that name."""


def gid_of(group: str) -> int | None:
    """As this host has it."""
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return None


def asked(config: Config, owner: int) -> bool:
    """Whether there should be one: whoever runs hive as himself has no need of a group that he did not name."""
    return owner == 0 or "push_group" in config.model_fields_set


def missing(config: Config, owner: int, groups: Groups = gid_of) -> str:
    """What is wrong, in words; "" when nothing is. `owner` is the uid that hive runs as."""
    if not asked(config, owner) or groups(config.push_group) is not None:
        return ""
    return f"there is no group {config.push_group}: only uid {owner} can push to push.git"


def remedy(config: Config) -> str:
    """What to do about it."""
    return (
        f"groupadd --system {config.push_group} (or set HIVE_PUSH_GROUP), usermod -aG {config.push_group} WHO, then "
        "move each proposed/*/push.git away: hive makes it again for the group"
    )

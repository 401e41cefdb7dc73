"""The group whose members may push to the push repos, and what to do if the host does not have it."""

from __future__ import annotations

import grp
from collections.abc import Callable

from meta.config import Config

Groups = Callable[[str], int | None]
"""Returns the gid of a group; None if no group has that name."""


def gid_of(group: str) -> int | None:
    """Return the gid that this host has for the group."""
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return None


def is_wanted(config: Config, owner: int) -> bool:
    """Return True if the host should have the group: hive runs as root, or the configuration names the group.

    A user who runs hive under their own uid pushes as the owner of the repos.
    """
    return owner == 0 or "push_group" in config.model_fields_set


def missing(config: Config, owner: int, groups: Groups = gid_of) -> str:
    """Return the complaint if the group is wanted but missing, else "". `owner` is hive's own uid."""
    if not is_wanted(config, owner) or groups(config.push_group) is not None:
        return ""
    return f"there is no group {config.push_group}: only uid {owner} can push to the push repos"


def remedy(config: Config) -> str:
    """Return how to create the group."""
    return (
        f"groupadd --system {config.push_group} (or set HIVE_PUSH_GROUP), usermod -aG {config.push_group} WHO, then "
        "move each push/*.git away: hive makes it again for the group"
    )

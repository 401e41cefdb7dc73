"""`push/<n>.git`: the bare repo that people push to, by a path on the host or over ssh. No sandbox sees it.

hive creates it and owns its configuration, but each pusher's own git writes in it. So hive trusts it as little as a
work tree: its own git never opens it. It reads the branches through `meta.proposed.tips`, fetches commits through
`meta.proposed.quarantine.fetch` and removes old objects through `meta.proposed.push_prune`. Hooks are off, because a
hook would run as the user who pushes next. At each look `complaint` compares it with what hive made.
"""

from __future__ import annotations

import grp
import os
import secrets
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from meta.config import Config
from meta.errors import PermanentError, Refused, TransientError
from meta.layout import Layout
from meta.names import AgentName
from meta.proposed import push_check
from meta.proposed.push_check import OWN_FILES, SETTINGS
from meta.text import one_line

OLD_NAME = "push.git"
"""Its name below `proposed/<n>` up to hive 0.1, where the manager could write in it; see `meta.proposed.push_move`."""

_FOLDERS = ("objects/info", "objects/pack", "refs/heads", "refs/tags", "info", "logs")
_OUTER = ("", "objects", "refs")
_INNER = ("objects/pack", "refs/heads", "refs/tags")
"""Folders that a push writes in. In the outer ones the sticky bit protects each user's files, hive's above all."""
_OUTER_MODE = 0o3775
_INNER_MODE = 0o2775
_CLOSED_MODE = 0o755


def path_of(layout: Layout, agent: AgentName) -> Path:
    """Return the path of the agent's push repo."""
    return layout.push_repo(agent)


def present(layout: Layout, agent: AgentName) -> bool:
    """Return True if the repo is there: a real directory with hive's own files, which configure git."""
    path = path_of(layout, agent)
    try:
        own = all(stat.S_ISREG((path / name).lstat().st_mode) for name in OWN_FILES)
        return stat.S_ISDIR(path.lstat().st_mode) and own
    except (FileNotFoundError, NotADirectoryError):
        return False


def fault(layout: Layout, agent: AgentName) -> str | None:
    """Return what in the repo is not as hive made it; None if nothing is. It belongs to the owner of its parent.

    Raise TransientError if there is no descriptor left to look at it with.
    """
    try:
        found = push_check.fault(path_of(layout, agent), layout.push_repos.lstat().st_uid)
    except OSError as error:
        found = f"{layout.push_repos} cannot be read: {error.strerror}"
    return None if found is None else one_line(found, 300)


def complaint(layout: Layout, agent: AgentName) -> str | None:
    """Return why hive reads nothing from the repo and nobody should push to it; None if it is as hive made it.

    Raise TransientError if there is no descriptor left to look at it with.
    """
    path, found = path_of(layout, agent), fault(layout, agent)
    if found is None:
        return None
    return f"{path} is not as hive made it: {found}; hive reads nothing from it. {remedy(path)}"


def remedy(path: Path) -> str:
    """Return what to do about a push repo that is not as hive made it."""
    return f"Run no git in it, move it away (mv {path} {path}.away): hive makes a new one; then push again"


def create(layout: Layout, agent: AgentName, config: Config) -> None:
    """Create the repo, empty, unless it exists. It is made in scratch and renamed into place.

    Members of the group `config.push_group` may push; without such a group only hive's own user can. Raises
    PermanentError if something else is in its place, Refused if `push` is a symlink, TransientError on a full disk.
    """
    if present(layout, agent):
        return
    target = path_of(layout, agent)
    scratch = layout.scratch / f"push-{agent}-{secrets.token_hex(4)}"
    try:
        layout.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        write(scratch, config)
        install(layout, agent, scratch)
    except OSError as error:
        if present(layout, agent):
            return  # another task created it meanwhile
        if os.path.lexists(target):
            raise PermanentError(f"{target} is in the way: it is not a push repo", "move it aside") from error
        raise TransientError(
            f"cannot create {target}: {error.strerror}", "is the disk full? hive tries again"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write(path: Path, config: Config) -> None:
    """Write an empty push repo at `path`, shared with the group. OSError."""
    for folder in _FOLDERS:
        (path / folder).mkdir(parents=True)
    own = {
        "HEAD": "ref: refs/heads/main\n",
        "config": SETTINGS.format(most=config.max_pack_bytes),
        # Without these, a user who may create files here could point git to another repo's configuration and hooks.
        "commondir": ".\n",
        "config.worktree": "",
    }
    for name in OWN_FILES:
        (path / name).write_text(own[name], encoding="ascii")
        (path / name).chmod(0o644)
    _share(path, config.push_group)


def _share(path: Path, group: str) -> None:
    """Give the folders that a push writes in to the group, if it exists and hive may do so."""
    for name in ("", *_FOLDERS):
        (path / name).chmod(_CLOSED_MODE)
    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError:
        return
    with suppress(PermissionError):
        for name in (*_OUTER, *_INNER):
            os.chown(path / name, -1, gid)
            (path / name).chmod(_OUTER_MODE if name in _OUTER else _INNER_MODE)


def install(layout: Layout, agent: AgentName, scratch: Path) -> None:
    """Rename a repo that is complete into place. OSError; Refused if `push` is not a directory."""
    parent = layout.push_repos
    parent.mkdir(mode=_CLOSED_MODE, exist_ok=True)
    try:
        descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except NotADirectoryError as error:
        raise Refused(
            f"{parent} is not a directory: hive writes nothing there", "move it aside, then rebuild"
        ) from error
    try:
        os.rename(scratch, path_of(layout, agent).name, dst_dir_fd=descriptor)
    finally:
        os.close(descriptor)

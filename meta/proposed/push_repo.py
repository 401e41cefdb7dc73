"""`proposed/<n>/push.git`: the bare repo that people push to, by a path on the host or over ssh.

hive creates it and owns its configuration, but each pusher's own git writes in it. So hive trusts it as little as a
work tree, and never runs git in it. It reads the branches through `meta.proposed.tips` and fetches commits through
`meta.proposed.quarantine.fetch`. Hooks are off, because a hook would run as the user who pushes next.
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

NAME = "push.git"

_FOLDERS = ("objects/info", "objects/pack", "refs/heads", "refs/tags", "info")
_OUTER = ("", "objects", "refs")
_INNER = ("objects/pack", "refs/heads", "refs/tags")
"""Folders that a push writes in.

In the folders above them the sticky bit protects each user's files, hive's above all.
"""
_OWN = ("HEAD", "config", "commondir", "config.worktree")
"""hive's own files: the sticky bit keeps pushers from replacing them."""
_OUTER_MODE = 0o3775
_INNER_MODE = 0o2775
_CLOSED_MODE = 0o755
_SETTINGS = """[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = true
\tsharedRepository = 0664
\thooksPath = /dev/null
[receive]
\tdenyNonFastForwards = false
\tdenyDeletes = false
\tfsckObjects = true
\tautogc = false
\tmaxInputSize = {most}
[gc]
\tauto = 0
"""


def path_of(layout: Layout, agent: AgentName) -> Path:
    """Return the path of the agent's push repo."""
    return layout.proposed(agent) / NAME


def present(layout: Layout, agent: AgentName) -> bool:
    """Return True if the repo is there: a real directory with hive's own files, which configure git."""
    path = path_of(layout, agent)
    try:
        own = all(stat.S_ISREG((path / name).lstat().st_mode) for name in _OWN)
        return stat.S_ISDIR(path.lstat().st_mode) and own
    except (FileNotFoundError, NotADirectoryError):
        return False


def create(layout: Layout, agent: AgentName, config: Config) -> None:
    """Create the repo, empty, unless it exists. It is made in scratch and renamed into place.

    Members of the group `config.push_group` may push. Without such a group only hive's own user can. Raise
    PermanentError if something else is in its place, Refused if `proposed/<n>` is a symlink, TransientError on a full
    disk.
    """
    if present(layout, agent):
        return
    target = path_of(layout, agent)
    scratch = layout.scratch / f"push-{agent}-{secrets.token_hex(4)}"
    try:
        layout.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(scratch, config)
        _share(scratch, config.push_group)
        _rename(scratch, layout.proposed(agent))
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


def _write(path: Path, config: Config) -> None:
    for folder in _FOLDERS:
        (path / folder).mkdir(parents=True)
    own = {
        "HEAD": "ref: refs/heads/main\n",
        "config": _SETTINGS.format(most=config.max_pack_bytes),
        # Without these, a user who may create files here could point git to another repo's configuration and hooks.
        "commondir": ".\n",
        "config.worktree": "",
    }
    for name in _OWN:
        (path / name).write_text(own[name], encoding="ascii")
        (path / name).chmod(0o644)


def _share(path: Path, group: str) -> None:
    """Give the group the folders that a push writes in, if the group exists and hive may do so."""
    path.chmod(_CLOSED_MODE)
    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError:
        return
    with suppress(PermissionError):
        for name in (*_OUTER, *_INNER):
            os.chown(path / name, -1, gid)
            (path / name).chmod(_OUTER_MODE if name in _OUTER else _INNER_MODE)


def _rename(scratch: Path, parent: Path) -> None:
    try:
        descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except NotADirectoryError as error:
        raise Refused(
            f"{parent} is not a directory: hive writes nothing there", "move it aside, then rebuild"
        ) from error
    try:
        os.rename(scratch, NAME, dst_dir_fd=descriptor)
    finally:
        os.close(descriptor)

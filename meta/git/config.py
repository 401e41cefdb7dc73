"""The configuration and the environment of git in hive's own repos."""

from __future__ import annotations

import os
from pathlib import Path

from meta import own_file
from meta.errors import Damaged

CONFIG = """\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = true
\tfsync = all
\tfsyncMethod = fsync
\thooksPath = /dev/null
\tlogAllRefUpdates = false
[gc]
\tauto = 0
[maintenance]
\tauto = false
[receive]
\tautogc = false
\tdenyDeletes = true
\tdenyNonFastForwards = true
"""
"""The whole configuration of each of hive's repos."""


def own_environment(path: Path) -> dict[str, str]:
    """Return the variables that overrule everything in the daemon's environment that could point git elsewhere."""
    return {
        "GIT_DIR": str(path),
        "GIT_OBJECT_DIRECTORY": f"{path}/objects",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": "",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_COUNT": "0",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_DEFAULT_HASH": "sha1",
        "GIT_DEFAULT_REF_FORMAT": "files",
        "GIT_AUTHOR_NAME": "hive",
        "GIT_AUTHOR_EMAIL": "hive@localhost",
        "GIT_COMMITTER_NAME": "hive",
        "GIT_COMMITTER_EMAIL": "hive@localhost",
    }


def is_complete(path: Path) -> bool:
    """Return True if `path` is a whole repo with exactly this configuration."""
    try:
        whole = own_file.read(path / "config") == CONFIG.encode()
    except (OSError, Damaged):
        return False
    return whole and (path / "HEAD").is_file() and (path / "objects").is_dir() and (path / "refs").is_dir()

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

_PINNED = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.attributesFile": os.devnull,
    "log.showSignature": "false",
}
"""Settings that lead git to programs or files. They hold in each of hive's repos, even if its file says otherwise."""
_NEEDED = frozenset({("[core]", "bare = true"), ("[core]", "hooksPath = /dev/null")})
"""Settings of CONFIG without which a configuration is not hive's, even if it was cut short."""


def is_own(config: bytes) -> bool:
    """Return True if `config` is hive's. It may be that of an older version, with fewer settings."""
    return is_part(config) and set(_settings(config)) >= _NEEDED


def is_part(config: bytes) -> bool:
    """Return True if each line of `config` is one of CONFIG, in its section, and stands there once.

    A line that hive does not write may name a program, and git would run that as the daemon.
    """
    settings = _settings(config)
    return set(settings) <= _OWN and len(settings) == len(set(settings))


def _settings(config: bytes) -> list[tuple[str, str]]:
    """Return each line with the header of its section, a header with an empty one. Empty lines do not count."""
    settings, section = [], ""
    for line in filter(None, map(str.strip, config.decode("latin-1").split("\n"))):
        if line.startswith("["):
            section = line
            settings.append(("", section))
        else:
            settings.append((section, line))
    return settings


_OWN = frozenset(_settings(CONFIG.encode()))


def own_environment(path: Path) -> dict[str, str]:
    """Return the variables that overrule everything in the daemon's environment that could point git elsewhere.

    A setting that names a program is pinned, whatever the repo's own configuration says.
    """
    return {
        "GIT_DIR": str(path),
        "GIT_OBJECT_DIRECTORY": f"{path}/objects",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": "",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_COUNT": str(len(_PINNED)),
        **{f"GIT_CONFIG_KEY_{number}": key for number, key in enumerate(_PINNED)},
        **{f"GIT_CONFIG_VALUE_{number}": value for number, value in enumerate(_PINNED.values())},
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

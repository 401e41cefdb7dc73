"""Where the CLIs of the runtimes keep their logins, below an agent's home. Standard library only.

The harness looks at these files, backups leave them out, and the documentation names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType

from meta.agent_toml.runtimes import RuntimeName


@dataclass(frozen=True, slots=True)
class LoginPlace:
    """Where one CLI keeps its login.

    `program` logs in. `file` and `keys`, a file of `NAME=value` lines, are in `folder`. `other` are files in which it
    may keep a key too, and at which nobody looks.
    """

    program: str = ""
    folder: str = ""
    file: str = ""
    keys: str = ""
    other: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """Return the files in which the login is looked for."""
        return tuple(f"{self.folder}/{name}" for name in (self.file, self.keys) if name)


_CLAUDE = LoginPlace(
    "claude",
    ".claude",
    ".credentials.json",
    # `primaryApiKey` after a login by the Console
    other=(".claude.json", ".claude/.claude.json", ".claude/backups/.claude.json"),
)
LOGINS: Mapping[RuntimeName, LoginPlace] = MappingProxyType(
    {
        "script": LoginPlace(),
        "claude": _CLAUDE,
        "codex": LoginPlace("codex", ".codex", "auth.json"),
        "gemini": LoginPlace("gemini", ".gemini", "oauth_creds.json", ".env"),
        "opencode": LoginPlace("opencode", ".local/share/opencode", "auth.json"),
        "claude-acp": _CLAUDE,
        "acp": LoginPlace(),
    }
)
"""The row of each runtime."""

LOGIN_FILES = frozenset(file for place in LOGINS.values() for file in (*place.files, *place.other))
"""The files in which CLIs keep their logins or keys. They are in no backup."""

_BY_HAND: Mapping[str, str] = MappingProxyType(
    {
        "gemini": "hive cannot log it in; `hive shell {agent} -- sh -c 'umask 077; mkdir -p ~/.gemini; "
        "cat >~/.gemini/.env' <FILE` gives it a key: the FILE has a line GEMINI_API_KEY=...",
        "opencode": "hive cannot log it in; `hive shell {agent} -- sh -c 'umask 077; mkdir -p ~/.local/share/opencode; "
        "cat >~/.local/share/opencode/auth.json' <FILE` gives it the auth.json of a login elsewhere",
        "acp": "hive does not know how its program logs in: `hive shell {agent}`, and log in there",
    }
)


def has_driven_login(runtime: str) -> bool:
    """Return True if `hive login` drives the login of the runtime. A runtime that is not known counts as one."""
    return runtime not in _BY_HAND


def login_remedy(runtime: str, agent: str) -> str:
    """Return what an operator does about an agent of this runtime that has no login."""
    by_hand = _BY_HAND.get(runtime)
    return by_hand.format(agent=agent) if by_hand else f"`hive login {agent}` logs it in"


_NAMES = frozenset((path.parent, path.name) for path in map(PurePosixPath, LOGIN_FILES))


def is_login_file(path: str) -> bool:
    """Return True for a login by its path below an agent's home, or for what a program writes beside it at first.

    Such a file has the login's name with something before or after it.
    """
    here = PurePosixPath(path)
    return any(here.parent == folder and name in here.name for folder, name in _NAMES)

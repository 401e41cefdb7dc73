"""The logins of coding agents' CLIs: their files, and the answers of a harness to the verbs of a login.

The text of a `done` (meta.wire.link) that is ok:

    login         the address on the first line, then what else the CLI says to the person
    login-code    LOGGED_IN, or PENDING, or AGAIN and then what the CLI says about the code
    login-cancel  a sentence
    logout        a sentence

An answer that is not ok ends the login, and its text says why.
"""

from __future__ import annotations

LOGIN_FILES = frozenset(
    {
        ".claude/.credentials.json",
        ".codex/auth.json",
        ".gemini/.env",
        ".gemini/oauth_creds.json",
        ".local/share/opencode/auth.json",
    }
)
"""The files, below an agent's home, in which CLIs keep their logins or keys. They are in no backup."""


def is_login_file(path: str) -> bool:
    """Return True for a login by its path below an agent's home, or for what a CLI writes beside it first."""
    return any(path == file or path.startswith((f"{file}.", f"{file}~")) for file in LOGIN_FILES)


LOGGED_IN = "logged in"
PENDING = "pending"
"""The login is not done yet: the next `login-code` without a text waits for it."""
AGAIN = "again: "
"""The CLI did not take the code, and waits for another one."""

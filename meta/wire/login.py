"""The answers of a harness to the verbs of a login.

The text of a `done` (meta.wire.link) that is ok:

    login         the address on the first line, then what else the CLI says to the person
    login-code    LOGGED_IN, or PENDING, or AGAIN and then what the CLI says about the code
    login-cancel  a sentence
    logout        a sentence

An answer that is not ok ends the login, and its text says why.
"""

from __future__ import annotations

LOGGED_IN = "logged in"
PENDING = "pending"
"""The login is not done yet: the next `login-code` without a text waits for it."""
AGAIN = "again: "
"""The CLI did not take the code, and waits for another one."""

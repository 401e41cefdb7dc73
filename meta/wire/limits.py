"""How long what agents send may be: one place for the checks behind the wire and for what schemas promise before it.

Bytes are those of UTF-8, so a schema, which counts characters, says the same for plain ASCII only.
"""

from __future__ import annotations

from meta.names import NAME_LIMIT

BODY_BYTES = 2**20
"""A message."""
QUESTION_BYTES = 16 * 1024
OPTION_BYTES = 1024
OPTIONS_MOST = 50
ANSWER_BYTES = 64 * 1024
REMINDER_BYTES = 256 * 1024
DESCRIPTION_MOST = 10_000
"""Characters of what is said of a proposal, and of the reason why one is refused."""
FILE_PATH_MOST = 1000
"""Characters of a reminder's path."""
LOG_LINES_MOST = 10_000
WAIT_MOST = 60
"""Seconds that a `recv` may wait."""

_NAME = rf"[a-z]([a-z0-9-]{{0,{NAME_LIMIT - 2}}}[a-z0-9])?"
NAME_PATTERN = rf"^{_NAME}$"
RECIPIENT_PATTERN = rf"^(\*|{_NAME})$"
COMMIT_PATTERN = "^[0-9a-f]{7,40}$"

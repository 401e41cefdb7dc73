"""The limits of what agents send, for the checks after parsing and for the schemas.

Bytes are those of UTF-8. A schema counts characters, so its limit is the same only for ASCII.
"""

from __future__ import annotations

from meta.names import NAME_LIMIT

BODY_BYTES = 2**20
"""The body of a message."""
QUESTION_BYTES = 16 * 1024
OPTION_BYTES = 1024
OPTIONS_MOST = 50
ANSWER_BYTES = 64 * 1024
REMINDER_BYTES = 256 * 1024
DESCRIPTION_MOST = 10_000
"""Characters of the description of a proposal, and of the reason of a denial."""
FILE_PATH_MOST = 1000
"""Characters of a reminder's path."""
LOG_LINES_MOST = 10_000
WAIT_MOST = 60
"""Seconds that a `recv` may wait."""

_NAME = rf"[a-z]([a-z0-9-]{{0,{NAME_LIMIT - 2}}}[a-z0-9])?"
NAME_PATTERN = rf"^{_NAME}$"
RECIPIENT_PATTERN = rf"^(\*|{_NAME})$"
COMMIT_PATTERN = "^[0-9a-f]{7,40}$"

"""A program of its own: read TOML from stdin, write it as JSON to stdout. Only the standard library, to start quickly.

Its caller limits its memory and its time. A value that JSON does not have (a date) becomes a table of its text, so that
no setting takes it for a text.
"""

from __future__ import annotations

import json
import sys
import tomllib


def main() -> int:
    """Return 0, or 1 with the reason on stderr."""
    try:
        table = tomllib.loads(sys.stdin.buffer.read().decode("utf-8"))
        text = json.dumps(table, default=lambda value: {"a date": str(value)})
    except (ValueError, RecursionError, MemoryError) as error:
        sys.stderr.write(f"{error or type(error).__name__}\n")
        return 1
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Run `hive` with the arguments given, and print at exit which of the slow modules it imported."""

from __future__ import annotations

import atexit
import sys

from api.cli.main import main

HEAVY = frozenset({"pydantic", "mcp", "litestar", "uvicorn", "git", "rich", "http.client", "asyncio", "watchfiles"})

if __name__ == "__main__":
    atexit.register(lambda: print("HEAVY", sorted(HEAVY & set(sys.modules))))  # noqa: T201
    main()

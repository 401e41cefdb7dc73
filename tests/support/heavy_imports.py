"""Run `hive` with the given arguments. At exit print the slow modules that it imported."""

from __future__ import annotations

import atexit
import sys

from api.cli.main import main

HEAVY = frozenset(
    {
        *("pydantic", "mcp", "litestar", "uvicorn", "git", "rich", "http.client", "asyncio", "watchfiles"),
        *("jinja2", "pygments", "webauthn", "cryptography"),
    }
)

if __name__ == "__main__":
    atexit.register(lambda: print("HEAVY", sorted(HEAVY & set(sys.modules))))  # noqa: T201
    main()

"""`hive` with a discovery that fails at its first look, as a defect of hive would make it."""

from __future__ import annotations

from typing import NoReturn

from api.cli.main import main
from reconciler.proposals.discovery import Discovery


async def _fail(_discovery: Discovery) -> NoReturn:
    raise LookupError("on purpose")


if __name__ == "__main__":
    setattr(Discovery, "_sweep", _fail)  # noqa: B010 - a stand-in
    main()

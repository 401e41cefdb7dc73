"""`hive` with a discovery that fails at its first look, as a defect of hive would make it."""

from __future__ import annotations

from typing import NoReturn

from api.cli import main as cli
from reconciler.proposals.discovery import Discovery


async def _fail(_discovery: Discovery) -> NoReturn:
    raise LookupError("on purpose")


def main(arguments: list[str]) -> None:
    """Run `hive` so."""
    setattr(Discovery, "_sweep", _fail)  # noqa: B010 - a stand-in
    cli.main(arguments)

"""A nix that a signal ends has found no mistake: hive tries again. One that a limit kills has."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.errors import BuildFailed, HiveError, TransientError
from meta.nix.cli import Nix
from meta.nix.jail import Evaluation


def ended_by(signal: str) -> str:
    """Return the text of a shell that this signal ends, also if the tests were started by nohup, which ignores some."""
    return f"exec env --default-signal /bin/sh -c 'kill -{signal} $$'"


def fake(folder: Path, text: str) -> Nix:
    """Return a nix that does only this."""
    for name in ("nix", "nix-store"):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n", encoding="ascii")
        (folder / name).chmod(0o755)
    return Nix(folder / "nix")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (ended_by("TERM"), TransientError),
        (ended_by("HUP"), TransientError),
        ("exit 143", TransientError),
        (ended_by("KILL"), BuildFailed),
        ("exit 1", BuildFailed),
    ],
    ids=["terminated", "hung up", "terminated in the jail", "killed", "failed"],
)
async def test_an_end_by_a_signal_is_no_mistake_of_the_author(
    tmp_path: Path, text: str, error: type[HiveError]
) -> None:
    nix = fake(tmp_path, text)
    with pytest.raises(error):
        await nix.derivation(Evaluation("path:/x", (), tmp_path / "home", isolated=False), "x", {})
    with pytest.raises(error):
        await nix.realise(Path("/x.drv"), tmp_path / "link", tmp_path / "home", 10, isolated=False)

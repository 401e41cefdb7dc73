"""Command lines of sandboxes as hive makes them: for an agent with its own uid, for root, for an ordinary user."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from meta.process import sandbox
from meta.process.sandbox import Sandbox

SUPPORT = Path(__file__).parent
PYTHON = "/usr/bin/python3"
"""The system's, which an ordinary user can run; that of the tests may lie in root's home."""
UID = 524_288
AS_USER = (
    *("setpriv", "--reuid", "30000", "--regid", "30000", "--clear-groups"),
    *("--bounding-set=-all", "--inh-caps=-all"),
)
"""The start of a command line that becomes an ordinary user."""


def command(who: str, box: Sandbox, argv: list[str]) -> list[str]:
    """The command line that runs `argv` in `box`. `who` is agent, root or user; the caller is root."""
    host = sandbox.detect()
    if who == "user":
        return [*AS_USER, "--", *sandbox.command(box, argv, replace(host, root=False))]
    return sandbox.command(replace(box, uid=UID if who == "agent" else None), argv, host)

"""Command lines of sandboxes as hive makes them: for an agent with its own uid, for root, for an ordinary user.

The Python of the tests and the checkout may lie where an ordinary user has no business, so the ordinary user gets the
system's Python and copies.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from meta.process import sandbox
from meta.process.sandbox import Sandbox

SUPPORT = Path(__file__).parent
PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
UID = 524_288
AS_USER = (
    *("setpriv", "--reuid", "30000", "--regid", "30000", "--clear-groups"),
    *("--bounding-set=-all", "--inh-caps=-all"),
)
"""The start of a command line that becomes an ordinary user."""
PROBE = Path("/probe")
"""Where a sandbox has the copies, if it binds `probe()`: the probers, and the table of refused calls."""


@functools.cache
def copies() -> Path:
    """A directory that every user may read, with the launcher, the probers and the table in it."""
    directory = Path(tempfile.mkdtemp(prefix="hive-probe-", dir="/tmp"))
    atexit.register(shutil.rmtree, directory)
    package = directory / "meta" / "process"
    shutil.copytree(Path(sandbox.__file__).parent / "seccomp", package / "seccomp")
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    for file in (sandbox.LAUNCHER, SUPPORT / "prober.py", SUPPORT / "ambient_prober.py"):
        shutil.copy(file, directory)
    for path in (directory, *directory.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return directory


def probe(name: str) -> tuple[Sandbox, list[str]]:
    """A sandbox in which the prober `name` can run, and the command line that runs it."""
    box = Sandbox(read_only=((copies(), PROBE),), env=(("PYTHONPATH", str(PROBE)),))
    return box, [PYTHON, str(PROBE / name)]


def command(who: str, box: Sandbox, argv: list[str]) -> list[str]:
    """The command line that runs `argv` in `box`. `who` is agent, root or user; the caller is root."""
    host = sandbox.detect()
    if who == "user":
        launcher = (PYTHON, "-I", "-S", str(copies() / "launcher.py"))
        return [*AS_USER, "--", *sandbox.command(box, argv, replace(host, root=False, launcher=launcher))]
    return sandbox.command(replace(box, uid=UID if who == "agent" else None), argv, host)

"""Open an address in the person's browser, where there is one.

The address goes to the browser in a file: every user of the host can read the arguments of a program.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from html import escape
from pathlib import Path

from meta import own_file
from meta.process import ambient

OPENER = "xdg-open"
FILE = "hive-dashboard.html"
_PAGE = '<!doctype html><meta http-equiv="refresh" content="0; url={0}"><title>hive</title><a href="{0}">hive</a>\n'
_QUIET = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]


def show(address: str, environment: Mapping[str, str] | None = None) -> bool:
    """Open `address`, and return at once. Return False where there is no graphical session or no xdg-open."""
    environment = ambient.before() if environment is None else environment
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    if not runtime.startswith("/") or not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
        return False
    opener = shutil.which(OPENER, path=ambient.search_path(environment))
    if opener is None:
        return False
    page = Path(runtime) / FILE
    try:
        if page.parent.stat().st_uid != os.geteuid():  # of the user who ran sudo
            return False
        own_file.write(page, _PAGE.format(escape(address)).encode(), mode=0o600, sync=False)
        os.posix_spawn(opener, [opener, str(page)], dict(environment), file_actions=_QUIET, setsid=True)
    except OSError:
        return False
    return True

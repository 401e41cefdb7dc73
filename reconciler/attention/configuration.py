"""The notifications that the daemon's settings ask for: the target, and the rules."""

from __future__ import annotations

import logging
import os
import re
import stat
from pathlib import Path

from meta import own_file
from meta.config import Config
from meta.errors import BadInput, Damaged
from reconciler.attention.delivery import Delivery
from reconciler.attention.plan import Quiet, Settings
from reconciler.attention.row import Severity
from reconciler.attention.target import Command, parse

log = logging.getLogger(__name__)
FILE_BYTES = 8192
"""Bytes of the file of HIVE_NOTIFY_FILE, at most."""
_QUIET = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")


def make_delivery(config: Config) -> Delivery | None:
    """Return the delivery to the target of the settings; None if they name none.

    Raise BadInput, which does not show the target.
    """
    if config.notify and config.notify_file:
        raise BadInput("HIVE_NOTIFY and HIVE_NOTIFY_FILE are both set", "unset one of them")
    text = _read(config.notify_file) if config.notify_file else config.notify.strip()
    if not text:
        return None
    target = parse(text)
    if isinstance(target, Command):
        _check_program(target.argv[0])
    return Delivery(target)


def settings(config: Config) -> Settings:
    """Return the rules. Raise BadInput."""
    return Settings(
        least=Severity(config.notify_min),
        quiet=_quiet(config.notify_quiet),
        group=config.notify_group,
        per_hour=config.notify_per_hour,
    )


def _check_program(path: str) -> None:
    """Reject a path that hive's user cannot run, so that a wrong one shows at the start and not at the first row."""
    hint = "name a file that hive's user may execute"
    try:
        is_file = stat.S_ISREG(Path(path).stat().st_mode)
    except OSError as error:
        raise BadInput(f"HIVE_NOTIFY: cannot run {path}: {error.strerror}", hint) from None
    if not is_file:
        raise BadInput(f"HIVE_NOTIFY: cannot run {path}: it is no file", hint)
    if not os.access(path, os.X_OK):
        raise BadInput(f"HIVE_NOTIFY: cannot run {path}: it is not executable", hint)


def _quiet(text: str) -> Quiet | None:
    if not text:
        return None
    match = _QUIET.fullmatch(text)
    if match is None:
        raise BadInput(f"HIVE_NOTIFY_QUIET={text!r} is no span of a day", "write it as 22:00-07:00")
    first, second, third, fourth = map(int, match.groups())
    if (first, second) == (third, fourth):
        raise BadInput(f"HIVE_NOTIFY_QUIET={text!r} begins when it ends", "write it as 22:00-07:00")
    return Quiet(first * 60 + second, third * 60 + fourth)


def _read(path: str) -> str:
    hint = "write the target into a file that only hive's user may read"
    try:
        if Path(path).stat().st_mode & 0o004:
            log.warning("every user can read %s, which may hold a token", path)
        text = own_file.read(path, FILE_BYTES, follow=True, hint=hint).decode().strip()
    except OSError as error:
        raise BadInput(f"HIVE_NOTIFY_FILE: cannot read {path}: {error.strerror}", hint) from None
    except Damaged as error:
        raise BadInput(f"HIVE_NOTIFY_FILE: {error.summary}", hint) from None
    except UnicodeDecodeError:
        raise BadInput(f"HIVE_NOTIFY_FILE: {path} is not text", hint) from None
    if not text or "\n" in text:
        raise BadInput(f"HIVE_NOTIFY_FILE: {path} does not have one line", hint)
    return text

"""`hive-harness check`: whether hive will take an agent.toml, for an agent that prepares one. It changes nothing."""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections.abc import Sequence
from pathlib import Path

from harness.own_command import own_command
from meta.agent_toml.no_effect import describe_no_effect
from meta.agent_toml.settings import SETTINGS_FILE, check_patterns, flatten, parse_settings
from meta.errors import BadInput, HiveError
from meta.process.landlock import abi, held_by

MOST = 1024 * 1024
"""Bytes of a file that are read. hive takes fewer."""


def check(path: Path) -> list[str]:
    """Return what is to know about an agent.toml, or about that in a folder. Raise BadInput if hive refuses it."""
    file = path / SETTINGS_FILE if path.is_dir() else path
    try:
        data = _read(file)
    except OSError as error:
        raise BadInput(
            f"{file} cannot be read: {error.strerror}", "name the file, or the folder that it is in"
        ) from error
    settings = parse_settings(data, str(file))
    check_patterns(settings, str(file))
    held = [] if settings.scope is None else [f"scope: in this container: {held_by(abi())}"]
    return [f"{file}: hive takes it", *held, *describe_no_effect(flatten(settings))]


def _read(file: Path) -> bytes:
    """Return the beginning of a regular file. A FIFO in its place must not block, because others may have made it."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        return os.read(descriptor, MOST)
    finally:
        os.close(descriptor)


def main(words: Sequence[str]) -> int:
    """Print the result for each path. Return 0 if hive takes them all."""
    failed = False
    for word in words:
        try:
            print("\n".join(check(Path(word))))  # noqa: T201
        except HiveError as error:
            failed = True
            print(f"{error.summary}; {error.hint}" if error.hint else error.summary)  # noqa: T201
    return int(failed)


def command() -> str:
    """Return the words by which a shell in this container runs `check`."""
    return shlex.join([*own_command(), "check"])

"""A pager for what is longer than the terminal, as git has it: HIVE_PAGER, else PAGER, else less."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping

from meta.process import ambient

LESS = "FRX"
"""The value of LESS if it is not set: end on one screen, keep colours, leave the text on the terminal."""


class Page:
    """What was written for the pager. For the code that writes it is a terminal."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self._text = io.StringIO()
        self.write: Callable[[str], int] = self._text.write
        self.read: Callable[[], str] = self._text.getvalue

    def isatty(self) -> bool:
        """Return True: colours and the terminal's width are wanted."""
        return True

    def flush(self) -> None:
        """Do nothing: the pager gets everything at the end."""


def pager(environment: Mapping[str, str]) -> list[str]:
    """Return the pager's command; none if there is to be no pager."""
    chosen = environment.get("HIVE_PAGER", environment.get("PAGER", "less"))
    try:
        words = shlex.split(chosen)
    except ValueError:
        return []
    return [] if words in ([], ["cat"]) or environment.get("TERM") == "dumb" else words


@contextlib.contextmanager
def paged(*, wanted: bool = True) -> Iterator[None]:
    """Show what is written in the block through the pager, if stdout is a terminal and too short for it."""
    words = pager(ambient.before()) if wanted and sys.stdout.isatty() and sys.stdin.isatty() else []
    if not words:
        yield
        return
    page = Page()
    with contextlib.redirect_stdout(page):  # a text stream as far as the console needs one
        yield
    text = page.read()
    if text.count("\n") < shutil.get_terminal_size().lines or not show(words, text):
        sys.stdout.write(text)


def show(words: list[str], text: str) -> bool:
    """Run the pager on `text` until the reader ends it. Return False if it cannot be started."""
    environment = {"LESS": LESS, **ambient.before()}
    reading, writing = os.pipe()
    try:
        redirect = [(os.POSIX_SPAWN_DUP2, reading, 0)]
        defaults = [signal.SIGINT, signal.SIGPIPE]
        pid = os.posix_spawnp(words[0], words, environment, file_actions=redirect, setsigdef=defaults)
    except OSError:
        os.close(writing)
        return False
    finally:
        os.close(reading)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the pager
    try:
        with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "wb") as pipe:
            pipe.write(text.encode("utf-8", "backslashreplace"))
        os.waitpid(pid, 0)
    finally:
        signal.signal(signal.SIGINT, before)
    return True

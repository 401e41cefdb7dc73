"""The terminal's second screen, on which `hive status --watch` draws the table again after each change."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from api.cli.render import console, tables
from api.cli.render.status import EMPTY, HEADINGS, OPTIONAL, Row, conditions, row_of
from api.words import texts

ENTER = "\x1b[?1049h\x1b[?25l"
LEAVE = "\x1b[?25h\x1b[?1049l"


class Screen:
    """The second screen, while it is shown."""

    def __init__(self) -> None:
        self.size = shutil.get_terminal_size()
        self._last: Row | None = None

    def show(self, status: Row) -> None:
        """Draw a status."""
        self._last = status
        self._draw("")

    def show_old(self, why: str) -> None:
        """Draw the last status again, and why it is old."""
        self._draw(why)

    def resized(self) -> bool:
        """Return True if the size of the terminal has changed since the last drawing."""
        return shutil.get_terminal_size() != self.size

    def _draw(self, why: str) -> None:
        self.size = shutil.get_terminal_size()
        drawn = frame(self._last, why, self.size.columns, self.size.lines)
        sys.stdout.write("\x1b[H" + "\x1b[K\n".join(drawn) + "\x1b[K\x1b[J")
        sys.stdout.flush()


def frame(status: Row | None, why: str, columns: int, rows: int) -> list[str]:
    """Return the lines of the screen: at most `rows`, each of at most `columns` cells."""
    clock = time.strftime("%H:%M:%S")
    about = f"hive {status['revision']}, backend {status['backend']}" if status else "hive"
    top = [tables.cut(texts.escape(line), columns) for line in (f"{about}, {clock}  (Ctrl-C ends)", why) if line]
    if status is None:
        return top[:rows]
    style = console.colour if console.has_colours() else None
    cells = console.cells(map(row_of, status["agents"]))
    table = tables.lines(HEADINGS, cells, width=columns, optional=OPTIONAL, style=style) if cells else [EMPTY]
    notes = [f"note: {note}" for note in status["notes"]]
    below = [part for line in (*conditions(status), *notes) for part in tables.wrap(line, columns)]
    everything = [*top, "", *table, *([""] if below else []), *below]
    if len(everything) <= rows:
        return everything
    return [*everything[: rows - 1], tables.cut(f"... and {len(everything) - rows + 1} more lines", columns)][:rows]


@contextlib.contextmanager
def second_screen() -> Iterator[Screen]:
    """Switch to the second screen inside the block, and back at its end, also after SIGTERM."""

    def terminated(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, terminated) if main else None
    sys.stdout.write(ENTER)
    sys.stdout.flush()
    try:
        yield Screen()
    finally:
        sys.stdout.write(LEAVE)
        sys.stdout.flush()
        if main:
            signal.signal(signal.SIGTERM, before)

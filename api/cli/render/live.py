"""`hive status --watch`: the table again whenever something happened, on a screen of its own, until Ctrl-C.

Events only say when to look. Between two looks lie at least CALM seconds; without events it looks every LOOK seconds. A
daemon that went away is waited for, at most PATIENCE seconds.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from api.cli.client.exit_codes import Unreachable
from api.cli.client.http import Client, Row, Stream
from api.cli.render import output, tables
from api.cli.render.status import EMPTY, HEADINGS, OPTIONAL, conditions, row_of, show, wrapped

CALM = 0.25
LOOK = 5.0
TICK = 0.5
"""Seconds after which a change of the terminal's size is seen."""
RETRY = 1.0
PATIENCE = 600.0

ENTER = "\x1b[?1049h\x1b[?25l"
LEAVE = "\x1b[?25h\x1b[?1049l"

Show = Callable[[Row], None]


def watching(client: Client, json: bool) -> None:
    """Show the status until Ctrl-C, which is the ordinary end of it."""
    with contextlib.suppress(KeyboardInterrupt):
        if json or not sys.stdout.isatty():
            _follow(client, output.say_json_line if json else _below)
            return
        with _screen() as screen:
            _follow(client, screen.show, screen)


class Screen:
    """The terminal's second screen."""

    def __init__(self) -> None:
        self.size = shutil.get_terminal_size()
        self._last: Row | None = None

    def show(self, found: Row) -> None:
        """Draw a status."""
        self._last = found
        self._draw("")

    def lost(self, why: str) -> None:
        """Draw the last status, and that it is old."""
        self._draw(why)

    def resized(self) -> bool:
        """Whether the terminal has another size than when it was last drawn."""
        return shutil.get_terminal_size() != self.size

    def _draw(self, why: str) -> None:
        self.size = shutil.get_terminal_size()
        drawn = frame(self._last, why, self.size.columns, self.size.lines)
        sys.stdout.write("\x1b[H" + "\x1b[K\n".join(drawn) + "\x1b[K\x1b[J")
        sys.stdout.flush()


def frame(found: Row | None, why: str, columns: int, rows: int) -> list[str]:
    """The lines of one picture, at most `rows` of at most `columns` cells."""
    clock = time.strftime("%H:%M:%S")
    about = f"hive {found['revision']}, backend {found['backend']}" if found else "hive"
    top = [tables.cut(output.clean(line), columns) for line in (f"{about}, {clock}  (Ctrl-C ends)", why) if line]
    if found is None:
        return top[:rows]
    style = output.coloured if output.colourful() else None
    cells = output.cells_of(map(row_of, found["agents"]))
    table = tables.lines(HEADINGS, cells, room=columns, optional=OPTIONAL, style=style) if cells else [EMPTY]
    notes = [f"note: {note}" for note in found["notes"]]
    below = [part for line in (*conditions(found), *notes) for part in wrapped(line, columns)]
    everything = [*top, "", *table, *([""] if below else []), *below]
    if len(everything) <= rows:
        return everything
    return [*everything[: rows - 1], tables.cut(f"... and {len(everything) - rows + 1} more lines", columns)][:rows]


@contextlib.contextmanager
def _screen() -> Iterator[Screen]:
    """The second screen, left again however this ends (but for SIGKILL)."""

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


def _below(found: Row) -> None:
    show(found)
    output.say()
    output.flush()


def _follow(client: Client, show: Show, screen: Screen | None = None) -> None:
    gone: float | None = None
    seen = False
    while True:
        try:
            with client.events() as stream:
                while True:
                    show(client.row("/api/status"))
                    output.flush()
                    seen, gone = True, None
                    _wait(stream, screen)
        except Unreachable as error:
            now = time.monotonic()
            gone = gone or now
            if not seen or now - gone > PATIENCE:
                raise
            if screen is not None:
                screen.lost(f"{error.summary}; trying again, this is how it was")
            time.sleep(RETRY)


def _wait(stream: Stream, screen: Screen | None) -> None:
    """Until something happened and CALM seconds passed; a screen is also drawn again for its age, or a new size."""
    deadline = time.monotonic() + LOOK
    while stream.next(TICK) is None:
        if screen is not None and (screen.resized() or time.monotonic() >= deadline):
            return
    calm = time.monotonic() + CALM
    while (remaining := calm - time.monotonic()) > 0:
        stream.next(remaining)

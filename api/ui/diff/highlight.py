"""Ask a process of its own for the tokens of code in a diff. A page never needs the answer: without it code is plain.

Each diff is asked about once, and by a process of its own: no text of an agent is in the same process as another's.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import logging
import resource
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import api
from api.ui.diff.blocks import Tokens
from api.ui.diff.lexer import KEYWORD, QUIET, question
from api.ui.diff.lines import Token, numbered
from api.ui.diff.values import FileDiff
from meta.errors import HiveError
from meta.process.run import Streams, run

MOST_BYTES = 128 * 1024
"""Characters of rows that are looked at. Files beyond are plain."""

SECONDS = 2.0
"""Seconds that an answer may take, with the start of its process. A later one is not waited for."""

PATIENCE = 0.1
"""Seconds that a page waits for the tokens of its code. What comes later is there when the page is shown again."""

KEPT = 32
"""Diffs whose tokens are kept."""

MOST_TOKENS = 8_000
"""Tokens of one diff that are kept, the first ones."""

AT_ONCE = 2
"""Processes at the same time."""

MOST_WAITING = 16
"""Diffs that are asked about or wait for that. Further ones are plain."""

_MEMORY = 256 * 2**20
_ANSWER = 2**18
_PROGRAM = (
    "import sys; sys.path[:0] = sys.argv[1:]; from api.ui.diff.lexer import main; sys.exit(main())"  # -S: no site
)
_NONE: Mapping[str, Tokens] = {}
"""The one answer without tokens: what is rendered from it stays the same until there is another."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Side:
    """One side of a hunk: its lines with their numbers."""

    path: str
    sign: str
    numbers: tuple[int, ...]
    texts: tuple[str, ...]


class Highlighter:
    """What is known of the code in diffs. It belongs to one event loop."""

    def __init__(self, seconds: float = SECONDS) -> None:
        """Wait at most `seconds` for each answer."""
        self._seconds = seconds
        self._known: OrderedDict[str, Mapping[str, Tokens]] = OrderedDict()
        self._asked: dict[str, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(AT_ONCE)

    async def tokens(self, files: Iterable[FileDiff], patience: float = PATIENCE) -> Mapping[str, Tokens]:
        """Return the tokens of files by path; none if they are not known after `patience` seconds."""
        sides = [side for file in _light(files) for side in _sides(file)]
        if not sides:
            return _NONE
        asked = question((side.path, side.texts) for side in sides)
        key = hashlib.sha256(asked).hexdigest()
        if key in self._known:
            self._known.move_to_end(key)
        elif key not in self._asked and len(self._asked) < MOST_WAITING:
            task = asyncio.create_task(self._answer(key, asked, sides), name="tokens of a diff")
            task.add_done_callback(lambda _: self._asked.pop(key, None))
            self._asked[key] = task
        if key in self._asked:
            await asyncio.wait({self._asked[key]}, timeout=patience)
        return self._known.get(key, _NONE)

    async def close(self) -> None:
        """End the processes that still run."""
        tasks = list(self._asked.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, key: str, asked: bytes, sides: Sequence[_Side]) -> None:
        tokens = _NONE
        try:
            async with self._room:
                tokens = await self._run(asked, sides)
        except HiveError as error:  # too slow, too much memory, no process: the code is plain
            _log.debug("the code of a diff is plain: %s", error)
        self._known[key] = tokens
        while len(self._known) > KEPT:
            self._known.popitem(last=False)

    async def _run(self, asked: bytes, sides: Sequence[_Side]) -> Mapping[str, Tokens]:
        done = await run(
            [sys.executable, "-I", "-S", "-c", _PROGRAM, *_places_of_code()],
            deadline=self._seconds,
            limits={
                resource.RLIMIT_AS: _MEMORY,
                resource.RLIMIT_CPU: int(self._seconds) + 1,
                resource.RLIMIT_CORE: 0,
                resource.RLIMIT_FSIZE: 0,
            },
            streams=Streams(stdin=asked, output_limit=_ANSWER),
        )
        return _decoded(done.text.split("\n")[:MOST_TOKENS], sides)


def _light(files: Iterable[FileDiff]) -> Iterator[FileDiff]:
    """Yield the files whose rows fit into `MOST_BYTES` together."""
    room = MOST_BYTES
    for file in files:
        weight = sum(len(row) + 1 for hunk in file.hunks for row in hunk.rows)
        if weight <= room:
            room -= weight
            yield file


def _places_of_code() -> tuple[str, ...]:
    """Return where hive's own code is, and Pygments, which the daemon does not import."""
    found = importlib.util.find_spec("pygments")
    folders = [Path(api.__file__).parents[1]]
    if found is not None and found.origin is not None:
        folders.append(Path(found.origin).parents[1])
    return tuple(map(str, folders))


def _sides(file: FileDiff) -> Iterator[_Side]:
    """Yield the old and the new side of each hunk."""
    for hunk in file.hunks:
        for gone, sign in (("+", "-"), ("-", "+")):
            rows = [row for row in numbered(hunk.rows, hunk.old, hunk.new) if row.sign != gone]
            numbers = tuple(row.old if sign == "-" else row.new for row in rows)
            yield _Side(file.path, sign, numbers, tuple(row.text for row in rows))


def _decoded(lines: Iterable[str], sides: Sequence[_Side]) -> Mapping[str, Tokens]:
    """Return the tokens of an answer by path and line. What names no line of the question is left out."""
    tokens: dict[str, dict[tuple[str, int], list[Token]]] = {}
    for line in lines:
        words = line.split(" ")
        if len(words) != 5 or words[4] not in (QUIET, KEYWORD) or not all(word.isdecimal() for word in words[:4]):
            continue
        which, row, first, end = map(int, words[:4])
        if which < len(sides) and row < len(sides[which].numbers):
            side = sides[which]
            known = tokens.setdefault(side.path, {})
            known.setdefault((side.sign, side.numbers[row]), []).append(Token(first, end, words[4]))
    return tokens

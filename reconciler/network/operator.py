"""The operator's settings for the way out: `network.toml` and the ceiling, read again when the file changes."""

from __future__ import annotations

from pathlib import Path

from meta import own_file
from meta.config import Config
from meta.errors import BadInput, HiveError
from meta.layout import Layout
from meta.network.operator_file import FILE_LIMIT, OperatorFile, ceiling_of, parse_operator_file
from meta.network.rule import Rule

Stamp = tuple[int, int, int]
_MISSING: Stamp = (0, 0, 0)


class OperatorSettings:
    """The operator's file and HIVE_NETWORK_CEILING.

    A broken version of the file changes nothing: the last good one stays in force, and `problem` has what is wrong.
    A ceiling that cannot be understood, and never could, lets nothing through.
    """

    def __init__(self, path: Path, ceiling: str = "", *, may_miss: bool = True) -> None:
        """Take the path and the text of the ceiling. `may_miss`: without the file there is nothing in it."""
        self._path = path
        self._text = ceiling
        self._may_miss = may_miss
        self._stamp: Stamp | None = None
        self._file = OperatorFile()
        self._revision = 0
        self._file_problem = ""
        self._ceiling: tuple[Rule, ...] | None = () if ceiling.split() else None
        self._ceiling_problem = ""

    @classmethod
    def of(cls, layout: Layout, config: Config) -> OperatorSettings:
        """Return those of a daemon."""
        if config.network_file:
            return cls(Path(config.network_file), config.network_ceiling, may_miss=False)
        return cls(layout.network_file, config.network_ceiling)

    @property
    def path(self) -> Path:
        """The path of the operator's file."""
        return self._path

    def file(self) -> OperatorFile:
        """Return the content of the file, or of its last good version."""
        self._look()
        return self._file

    def ceiling(self) -> tuple[Rule, ...] | None:
        """Return the rules beyond which no agent.toml may reach, None if there are none."""
        self._look()
        return self._ceiling

    def revision(self) -> int:
        """Return a number that grows when another good version of the file is read."""
        self._look()
        return self._revision

    @property
    def problem(self) -> str:
        """What is wrong with the file or the ceiling, with the remedy; "" if nothing is."""
        self._look()
        return "; ".join(filter(None, (self._file_problem, self._ceiling_problem)))

    def _look(self) -> None:
        """Read the file if it is not the one that was read last."""
        try:
            stamp = _stamp(self._path)
        except OSError as error:
            self._stamp, self._file_problem = None, f"{self._path}: {error.strerror}"
            self._take_ceiling()
            return
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._file, self._file_problem = self._read(stamp), ""
            self._revision += 1
        except OSError as error:
            self._file_problem = f"{self._path}: {error.strerror} (hive's daemon must be able to read it)"
        except HiveError as error:
            self._file_problem = error.describe()
        self._take_ceiling()

    def _read(self, stamp: Stamp) -> OperatorFile:
        if stamp != _MISSING:
            data = own_file.read(self._path, FILE_LIMIT, follow=True, hint="see docs/reference/network.md")
            return parse_operator_file(data, str(self._path))
        if self._may_miss:
            return OperatorFile()
        raise BadInput(f"{self._path}: there is no such file", "write it, or leave HIVE_NETWORK_FILE out")

    def _take_ceiling(self) -> None:
        try:
            self._ceiling, self._ceiling_problem = ceiling_of(self._text, self._file), ""
        except BadInput as error:
            self._ceiling_problem = f"HIVE_NETWORK_CEILING: {error.describe()}"


def _stamp(path: Path) -> Stamp:
    """Return what changes with the file. Raise OSError, but not for a file that is missing."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return _MISSING
    return status.st_mtime_ns, status.st_ino, status.st_size

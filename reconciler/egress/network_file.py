"""The operator's file and the ceiling, read again when the file changes. A broken new version is not obeyed."""

from __future__ import annotations

from pathlib import Path

from meta import own_file
from meta.errors import BadInput, Damaged
from meta.network.operator_file import FILE_LIMIT, OperatorFile, ceiling_of, parse_operator_file
from meta.network.rule import Rule, covers

_Stamp = tuple[int, int, int, int] | None


class NetworkFile:
    """The last good version. Without a file there is nothing in it; with a ceiling that cannot be read, all is beyond.

    `problem` is what is wrong with the file of now, "" if nothing is.
    """

    def __init__(self, path: Path, ceiling: str) -> None:
        self._path = path
        self._text = ceiling
        self._stamp: _Stamp = (0, 0, 0, 0)
        self.file = OperatorFile()
        self.ceiling: tuple[Rule, ...] | None = () if ceiling.split() else None
        self.problem = ""
        self.reload()

    def reload(self) -> bool:
        """Read the file if it changed. Return True if something else is obeyed, or there is another problem."""
        stamp = self._look()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            data = b"" if stamp is None else own_file.read(self._path, FILE_LIMIT, follow=True, hint="")
            file = parse_operator_file(data, str(self._path))
            ceiling = ceiling_of(self._text, file)
        except FileNotFoundError:
            self._stamp = (0, 0, 0, 0)  # it went between the two looks: look again
            return False
        except (BadInput, Damaged) as error:
            self.problem = error.describe()
        except OSError as error:
            self.problem = f"{self._path} cannot be read: {error.strerror}"
        else:
            self.file, self.ceiling, self.problem = file, ceiling, ""
        return True

    def within_ceiling(self, host: str, port: int) -> bool:
        """Return True if the operator's ceiling covers a host and port, or there is none."""
        return self.ceiling is None or covers(self.ceiling, host, port)

    def is_private(self, host: str, port: int) -> bool:
        """Return True if the operator lets a host and port have a private or own address."""
        return covers(self.file.private, host, port)

    def _look(self) -> _Stamp:
        try:
            status = self._path.stat()
        except OSError as error:
            return None if isinstance(error, FileNotFoundError) else (error.errno or -1, 0, 0, 0)
        return status.st_mtime_ns, status.st_ino, status.st_size, status.st_ctime_ns

"""HTTP to the daemon over its unix socket. A client library would take longer to import than the call takes.

It uses HTTP/1.0, because then an answer ends with its connection and there are no chunks to decode.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.cli.client.exit_codes import Code, Failed, NoAnswer, Unreachable
from api.cli.client.paths import Where
from api.http.problems import error_from
from meta.errors import BadInput, HiveError, Refused

CONNECT_DEADLINE = 5.0
ANSWER_DEADLINE = 300.0
"""Seconds to wait for one answer; the slowest is the fetch of a large proposal."""
PROBE_AFTER = 5.0
"""Seconds without a byte after which another connection asks whether the daemon still answers."""
PROBE_DEADLINE = 10.0
"""Seconds for that connection and its answer together. Without one the daemon hangs."""
PROBE = "/api/agents"
"""What is asked: the daemon has it at hand."""
SILENCE = 50.0
"""Seconds without a byte after which a stream's daemon hangs. It sends a comment every 15 s (event_stream.py)."""
HEAD_LIMIT = 65_536
CHUNK = 65_536

Query = Mapping[str, str | int | float | bool | None]
Row = dict[str, Any]
"""One JSON object of the daemon; its keys are the fields in reconciler/views/."""


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event; `data` is its JSON."""

    kind: str
    seq: str
    data: Row


class Client:
    """Calls one daemon. An error of the daemon is raised as the HiveError that it stands for.

    `patience`: seconds to wait for each answer.
    """

    def __init__(self, where: Where, patience: float = ANSWER_DEADLINE) -> None:
        self.where = where
        self._patience = patience

    def get(self, path: str, query: Query | None = None) -> Any:
        """Fetch and return the JSON at `path`."""
        return self._call("GET", path, query, None)

    def row(self, path: str, query: Query | None = None) -> Row:
        """Return the JSON object at `path`."""
        return _row(self.get(path, query))

    def rows(self, path: str, query: Query | None = None) -> list[Row]:
        """Return the JSON list of objects at `path`."""
        items = self.get(path, query)
        return [_row(item) for item in items] if isinstance(items, list) else []

    def post(self, path: str, body: Mapping[str, object] | None = None, query: Query | None = None) -> Row:
        """POST to `path` and return the JSON object of the answer."""
        return _row(self._call("POST", path, query, body or {}))

    def post_rows(self, path: str, body: Mapping[str, object] | None = None) -> list[Row]:
        """POST to `path` and return the JSON list of objects of the answer."""
        items = self._call("POST", path, None, body or {})
        return [_row(item) for item in items] if isinstance(items, list) else []

    def delete(self, path: str) -> Row:
        """DELETE `path` and return the JSON object of the answer."""
        return _row(self._call("DELETE", path, None, None))

    def delete_rows(self, path: str) -> list[Row]:
        """DELETE `path` and return the JSON list of objects of the answer."""
        items = self._call("DELETE", path, None, None)
        return [_row(item) for item in items] if isinstance(items, list) else []

    def events(self, after: str | None = None, query: Query | None = None) -> Stream:
        """Open the event stream. Return once it has begun.

        It begins now, or after the event `after`. `query` has the other fields of the request.
        """
        return self.stream("/api/events", {"after": after, **(query or {})})

    def stream(self, path: str, query: Query | None = None, last_event_id: str = "") -> Stream:
        """Open a stream of server-sent events. Return once it has begun. It resumes after `last_event_id`."""
        sock = self._open()
        try:
            sock.sendall(_request("GET", path, query, None, last_event_id))
            received = b""
            while b"\r\n\r\n" not in received and len(received) < HEAD_LIMIT:
                part = self.receive(sock, self._patience)
                if not part:
                    break
                received += part
            head, _, rest = received.partition(b"\r\n\r\n")
            if _status(head) != 200:
                _answer(head, rest + self._rest_of(sock))
            stream = Stream(sock, rest)
            if stream.next(PROBE_AFTER + PROBE_DEADLINE) is None:
                raise _no_answer(self.where)
            return stream
        except OSError as error:
            sock.close()
            raise lost(self.where, error) from error
        except BaseException:
            sock.close()
            raise

    def receive(self, sock: socket.socket, seconds: float) -> bytes:
        """Return the next bytes of an answer, b"" at its end.

        Raise TimeoutError after `seconds`, or earlier if the daemon does not answer a second connection either.
        """
        deadline = time.monotonic() + seconds
        while True:
            sock.settimeout(max(0.001, min(PROBE_AFTER, deadline - time.monotonic())))
            try:
                return sock.recv(CHUNK)
            except TimeoutError:
                if time.monotonic() >= deadline or not self._is_alive():
                    raise

    def _is_alive(self) -> bool:
        """Return False if the daemon accepts a connection and sends nothing. A lost connection says nothing of that."""
        deadline = time.monotonic() + PROBE_DEADLINE
        try:
            with self._open(PROBE_DEADLINE) as sock:
                sock.settimeout(max(0.001, deadline - time.monotonic()))
                sock.sendall(_request("GET", PROBE, None, None))
                sock.settimeout(max(0.001, deadline - time.monotonic()))
                sock.recv(1)
        except (TimeoutError, NoAnswer):
            return False
        except (OSError, HiveError):
            pass
        return True

    def _rest_of(self, sock: socket.socket) -> bytes:
        return b"".join(iter(lambda: self.receive(sock, self._patience), b""))

    def _call(self, method: str, path: str, query: Query | None, body: Mapping[str, object] | None) -> Any:
        written = False
        try:
            with self._open() as sock:
                try:
                    sock.sendall(_request(method, path, query, body))
                    written = method != "GET" and path not in _READS
                    head, _, rest = self._rest_of(sock).partition(b"\r\n\r\n")
                except OSError as error:
                    raise lost(self.where, error) from error
            return _answer(head, rest)
        except (NoAnswer, Unreachable) as error:
            if written:
                raise _uncertain(error, path) from error
            raise

    def _open(self, seconds: float = CONNECT_DEADLINE) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(min(seconds, self._patience))
        try:
            self.where.connect(sock, self.where.http)
        except Refused:
            sock.close()
            raise
        except PermissionError as error:
            sock.close()
            raise Unreachable(
                f"you may not open {self.where.http}", "run this as the user that runs hive, or join its group"
            ) from error
        except (TimeoutError, BlockingIOError) as error:  # a daemon that hangs accepts no more than its queue takes
            sock.close()
            raise _no_answer(self.where) from error
        except OSError as error:
            sock.close()
            raise Unreachable(
                f"no daemon answers at {self.where.http}",
                f"start one with `{self.where.serve_command()}`, or name its directory with --runtime"
                f"{_after_a_newer_hive(self.where)}",
            ) from error
        return sock


def _after_a_newer_hive(where: Where) -> str:
    """Return what to do if the daemon refuses the state directory, whose database an operator may not read."""
    if not where.state.exists():
        return ""
    refused = f"if it ends with exit code {Code.NEWER.value}, a newer hive wrote {where.state}"
    return f"; {refused}: docs/howto/upgrade.md has the way back"


class Stream:
    """Server-sent events, with a time limit on each wait. `position` is the number of the last event that was read."""

    def __init__(self, sock: socket.socket, received: bytes) -> None:
        self.position = ""
        self._sock = sock
        self._buffer = received
        self._received_at = time.monotonic()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the stream."""
        self._sock.close()

    def next(self, seconds: float) -> Event | None:
        """Return the next event, or None after `seconds`.

        Raise Unreachable if the daemon ends the stream, NoAnswer if it has not even sent a comment for SILENCE seconds.
        """
        deadline = time.monotonic() + seconds
        while True:
            block, end, rest = self._buffer.partition(b"\n\n")
            if end:
                self._buffer = rest
                event = _event(block)
                if event.seq:  # a comment has one, too
                    self.position = event.seq
                if event.data:
                    return event
                continue
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return None
            self._sock.settimeout(remaining)
            try:
                part = self._sock.recv(CHUNK)
            except TimeoutError:
                if time.monotonic() - self._received_at > SILENCE:
                    raise NoAnswer("the daemon sends nothing any more", _HANGS) from None
                return None
            except OSError:
                part = b""
            if not part:
                raise Unreachable("the daemon ended the stream", "it is stopping, or was restarted; see `hive status`")
            self._buffer += part
            self._received_at = time.monotonic()


def _request(
    method: str, path: str, query: Query | None, body: Mapping[str, object] | None, last_event_id: str = ""
) -> bytes:
    given = {key: value for key, value in (query or {}).items() if value is not None}
    if given:
        from urllib.parse import urlencode  # 8 ms, and most calls have no query

        try:
            path = f"{path}?{urlencode({key: _plain(value) for key, value in given.items()})}"
        except UnicodeEncodeError as error:  # the command line is bytes, and these are not text
            raise BadInput(f"{error.object!r} is not text in UTF-8", "type it again") from error
    head = [f"{method} {path} HTTP/1.0", "Host: hive", "Accept: application/json, text/event-stream"]
    head += [f"Last-Event-ID: {last_event_id}"] if last_event_id else []
    data = b""
    if body is not None:
        data = json.dumps(body).encode()
        head += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    return "\r\n".join([*head, "", ""]).encode() + data


def _plain(value: str | int | float | bool) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _status(head: bytes) -> int:
    words = head.split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def _answer(head: bytes, body: bytes) -> Any:
    if not head:
        raise unanswered()
    status = _status(head)
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:") and int(line[15:]) != len(body):
            raise cut_off()
    try:
        value = json.loads(body) if body else None
    except ValueError:
        value = None
        status = status if status >= 400 else 0
    if 200 <= status < 300:
        return value
    if isinstance(value, dict):
        raise error_from(value)
    raise Failed(f"the daemon answered with status {status or 'nothing'}", "see its log")


def _event(block: bytes) -> Event:
    """Return the event of a block; that of a comment has no data."""
    fields = {"event": "message", "id": "", "data": ""}
    for line in block.decode(errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key in fields:
            fields[key] = value.removeprefix(" ")
    return Event(fields["event"], fields["id"], _row(json.loads(fields["data"])) if fields["data"] else {})


def _row(value: Any) -> Row:
    return value if isinstance(value, dict) else {}


def lost(where: Where, error: OSError) -> HiveError:
    """Return the error for a connection to the daemon that failed with `error`."""
    if isinstance(error, TimeoutError):
        return _no_answer(where)
    return Unreachable(
        f"the daemon at {where.http} closed the connection: {error.strerror}", "see its log, then try again"
    )


def unanswered() -> Unreachable:
    """Return the error for a connection that the daemon closed without an answer."""
    return Unreachable(
        "the daemon closed the connection without an answer", "it is stopping, or was killed; see its log"
    )


def cut_off() -> Unreachable:
    """Return the error for a connection that the daemon closed within its answer."""
    return Unreachable("the daemon's answer was cut off", "it is stopping, or was killed; try again")


_HANGS = "see its log; if it hangs, restart it: agents keep running"


_READS = ("/api/backup",)
"""Paths of a POST that changes nothing."""
_LOOK = {"/api/messages": "hive status", "/api/questions": "hive questions", "/api/agents": "hive status"}
"""The command that shows whether a request was carried out, by the beginning of its path. For others it is _OTHER."""
_OTHER = "hive events"


def _uncertain(error: NoAnswer | Unreachable, path: str) -> HiveError:
    """Return the error for a request that the daemon has, and that it may carry out without an answer."""
    look = next((command for begin, command in _LOOK.items() if path.startswith(begin)), _OTHER)
    hint = f"hive may still do it: before you repeat it, look with `{look}` once the daemon answers; {error.hint}"
    return type(error)(error.summary, hint)


def _no_answer(where: Where) -> NoAnswer:
    return NoAnswer(f"the daemon at {where.http} does not answer", _HANGS)

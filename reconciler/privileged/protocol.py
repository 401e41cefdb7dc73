"""The line protocol of the root helper: one JSON object per line, each way, over a unix stream socket.

    {"verb": "create", "name": "alice", "uid_base": 524288, "system": "/nix/store/...-nixos-system-alice"}
    {"verb": "set-system", "name": ..., "system": ...}
    {"verb": "write-settings", "name": ..., "settings": {"role", "uid_base", "limits", "isolated"}}
    {"verb": "start", "name": ...}       {"verb": "stop", "name": ..., "grace": 10}     {"verb": "destroy", "name": ...}
    {"verb": "own-directory", "name": ..., "kind": "state|home|pods|sockets|egress|proposed", "uid_base": ...}
    {"verb": "remove-directories", "name": ...}
    {"verb": "measure", "name": ...}
    {"verb": "logs", "name": ..., "lines": 100, "cursor": null}
    -> {"ok": true, ...}
    -> {"ok": false, "kind": "bad-input", "error": "what", "hint": "what to do", "retry_after": null}

Decoding is strict: exact keys, exact types, no duplicate keys, at most LINE_LIMIT bytes. The kind of an error names the
class of meta.errors that the client raises.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from meta.errors import BadInput, Conflict, HiveError, NotFound, PermanentError, Refused, TransientError
from meta.names import AgentName
from reconciler.privileged import values
from reconciler.privileged.values import Bounds, Settings

LINE_LIMIT = 64 * 1024
"""Bytes of a request, line end included."""

ANSWER_LIMIT = 512 * 1024
"""Bytes of an answer, line end included."""


@dataclass(frozen=True, slots=True)
class Create:
    """Make the container with hive's marker. It is not started."""

    name: AgentName
    uid_base: int
    system: str


@dataclass(frozen=True, slots=True)
class SetSystem:
    """Switch to a system by path. Takes effect at the next start."""

    name: AgentName
    system: str


@dataclass(frozen=True, slots=True)
class WriteSettings:
    """Write binds, uid range and limits. Takes effect at the next start."""

    name: AgentName
    settings: Settings


@dataclass(frozen=True, slots=True)
class Start:
    """Start the system that is set. Do nothing if it runs."""

    name: AgentName


@dataclass(frozen=True, slots=True)
class Stop:
    """Send TERM, then KILL after `grace` seconds. The answer follows when no process is left."""

    name: AgentName
    grace: float


@dataclass(frozen=True, slots=True)
class Destroy:
    """Stop and remove the container, and the directory of its way out. The agent's own directories stay."""

    name: AgentName


@dataclass(frozen=True, slots=True)
class OwnDirectory:
    """Make one of the agent's directories and give it to the agent."""

    name: AgentName
    kind: str
    uid_base: int


@dataclass(frozen=True, slots=True)
class RemoveDirectories:
    """Remove the files of a purged agent: state, home, proposed work tree. Refused while its container exists."""

    name: AgentName


@dataclass(frozen=True, slots=True)
class Measure:
    """Count what the agent's directories and the container's root hold: `bytes`, `inodes`, `complete`."""

    name: AgentName


@dataclass(frozen=True, slots=True)
class Logs:
    """Read the last `lines` lines after `cursor`. The answer has `lines` (texts) and the new `cursor`.

    `since`: only lines written after that Unix second. The key is omitted if None.
    """

    name: AgentName
    lines: int
    cursor: str | None
    since: int | None = None


Change = Create | SetSystem | WriteSettings | Start | Stop | Destroy | OwnDirectory | RemoveDirectories
Request = Change | Measure | Logs

VERBS: Mapping[type[Request], str] = {
    Create: "create",
    SetSystem: "set-system",
    WriteSettings: "write-settings",
    Start: "start",
    Stop: "stop",
    Destroy: "destroy",
    OwnDirectory: "own-directory",
    RemoveDirectories: "remove-directories",
    Measure: "measure",
    Logs: "logs",
}
_FIELDS: Mapping[str, tuple[str, ...]] = {verb: tuple(request.__dataclass_fields__) for request, verb in VERBS.items()}
_KINDS: tuple[tuple[type[HiveError], str], ...] = (
    (BadInput, "bad-input"),
    (NotFound, "not-found"),
    (Conflict, "conflict"),
    (Refused, "refused"),
    (TransientError, "transient"),
    (PermanentError, "permanent"),
)


def encode(request: Request) -> bytes:
    """Return the line of a request with its line end."""
    table = {"verb": VERBS[type(request)], **asdict(request)}
    if isinstance(request, Logs) and request.since is None:
        del table["since"]
    return _line(table)


def decode(line: bytes, bounds: Bounds) -> Request:
    """Return the request in a line, whose end may be missing. Raise BadInput with the fault."""
    if len(line) > LINE_LIMIT:
        raise BadInput(f"the line has more than {LINE_LIMIT} bytes")
    table = _object(line)
    verb = table.get("verb")
    if not isinstance(verb, str) or verb not in _FIELDS:
        raise BadInput("no such verb", f"one of: {', '.join(_FIELDS)}")
    if verb == "logs":
        table = {"since": None, **table}
    return _request(verb, values.exact(table, verb, ("verb", *_FIELDS[verb])), bounds)


def _request(verb: str, table: Mapping[str, object], bounds: Bounds) -> Request:
    name = values.name(table["name"])
    match verb:
        case "create":
            return Create(name, values.uid_base(table["uid_base"], bounds), values.system(table["system"], bounds))
        case "set-system":
            return SetSystem(name, values.system(table["system"], bounds))
        case "write-settings":
            return WriteSettings(name, values.settings(table["settings"], bounds))
        case "start":
            return Start(name)
        case "stop":
            return Stop(name, values.grace(table["grace"]))
        case "destroy":
            return Destroy(name)
        case "own-directory":
            return OwnDirectory(name, values.kind(table["kind"]), values.uid_base(table["uid_base"], bounds))
        case "remove-directories":
            return RemoveDirectories(name)
        case "measure":
            return Measure(name)
        case _:
            lines, cursor = values.lines(table["lines"]), values.cursor(table["cursor"])
            return Logs(name, lines, cursor, values.since(table["since"]))


def encode_done(data: Mapping[str, object]) -> bytes:
    """Return the answer to a request that succeeded."""
    return _line({"ok": True, **data})


def encode_error(error: HiveError) -> bytes:
    """Return the answer to a request that failed."""
    kind = next(word for class_, word in _KINDS if isinstance(error, class_))
    return _line(
        {
            "ok": False,
            "kind": kind,
            "error": error.summary[:2000],
            "hint": error.hint[:2000],
            "retry_after": error.retry_after if isinstance(error, TransientError) else None,
        }
    )


def decode_answer(line: bytes) -> Mapping[str, object]:
    """Return the data of an answer. Raise the error in it, or TransientError if it is not an answer."""
    try:
        table = _object(line)
    except BadInput as error:
        raise TransientError(f"the root helper returned no answer: {error.summary}") from error
    if table.get("ok") is True:
        return table
    summary, hint, retry = str(table.get("error")), str(table.get("hint", "")), table.get("retry_after")
    class_ = next((class_ for class_, word in _KINDS if word == table.get("kind")), PermanentError)
    if class_ is TransientError:
        raise TransientError(summary, hint, float(retry) if isinstance(retry, int | float) else None)
    raise class_(summary, hint)


def _line(table: Mapping[str, object]) -> bytes:
    return json.dumps(table, separators=(",", ":")).encode() + b"\n"


def _object(line: bytes) -> Mapping[str, object]:
    try:
        value: object = json.loads(line.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise BadInput(f"the line is not UTF-8 at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the line is not JSON: {str(error)[:200]}") from error
    if not isinstance(value, dict):
        raise BadInput("the line is not a JSON object")
    return value


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise BadInput("a key occurs twice")
    return table


def _no_constant(text: str) -> object:
    raise BadInput(f"{text} is not JSON")

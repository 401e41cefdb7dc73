"""The watcher of a login under the CLI's uid: what it sees, as JSON lines, for a harness that may not look itself."""

from __future__ import annotations

import contextlib
import json
import os
import select
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.login.presence import LOOK_SECONDS, Credentials, Mark, Presence, Standing
from harness.login.table import TABLE

REASON_MOST = 500


def watch(runtime: str, home: str, env: Mapping[str, str], streams: Sequence[int], connection: int) -> None:
    """Write what is seen at once, at each change, and for each byte on the first stream, until `connection` ends."""
    credentials = Credentials(TABLE[runtime], Path(home), env)
    stdin, stdout, _ = streams
    last, asked = b"", True
    with contextlib.suppress(OSError):
        while True:
            line = encode(credentials.mark(), credentials.look())
            if asked or line != last:
                os.write(stdout, line)
            last = line
            ready = select.select([stdin, connection], [], [], LOOK_SECONDS)[0]
            asked = stdin in ready
            if connection in ready or (asked and not os.read(stdin, 4096)):
                return


def encode(mark: Mark | None, presence: Presence) -> bytes:
    """Return the line of what was seen."""
    seen = {"mark": mark, "standing": presence.standing, "reason": presence.reason[:REASON_MOST]}
    return json.dumps(seen).encode("ascii") + b"\n"


def decode(line: bytes) -> tuple[Mark | None, Presence]:
    """Return what was seen. Raise ValueError. It is the agent's claim: what wrote it has the CLI's uid."""
    value: Any = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    mark, reason = value.get("mark"), value.get("reason")
    if mark is not None and not (isinstance(mark, list) and len(mark) == 4 and all(type(n) is int for n in mark)):
        raise ValueError("not a mark")
    if not isinstance(reason, str) or len(reason) > REASON_MOST:
        raise ValueError("not a reason")
    return None if mark is None else (mark[0], mark[1], mark[2], mark[3]), Presence(Standing(value["standing"]), reason)

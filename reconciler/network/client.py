"""The daemon's client of hive-egress: one connection per question, bounded in bytes and seconds.

TransientError: nothing answers, or not in time. BadInput: the answer is none of this protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from meta.errors import BadInput, PermanentError, TransientError
from meta.names import AgentName
from meta.network.control import (
    LINE_LIMIT,
    VERSION,
    decode_connections,
    decode_line,
    decode_report,
    encode_line,
    version_of,
)
from meta.network.policy import Policy, encode_policy
from meta.network.report import ConnectionRecord, Report
from meta.text import one_line

SECONDS = 5.0
"""Seconds for a question and its answer."""
TEXT_LIMIT = 300
"""Characters of an error of hive-egress that are repeated."""
LARGE = 50
"""Agents of a report that is decoded beside the event loop."""


class OtherProtocol(PermanentError):
    """The hive-egress that answers is of another version of the protocol."""


class EgressClient:
    """Asks hive-egress over its control socket."""

    def __init__(self, path: Path, seconds: float = SECONDS) -> None:
        self.path = path
        self._seconds = seconds

    async def set_policy(self, policy: Policy) -> str:
        """Push the policy. Return its revision once it is obeyed."""
        line = b'{"do":"set-policy","policy":' + encode_policy(policy).rstrip(b"\n") + b"}\n"
        return str((await self._ask(line)).get("policy", ""))

    async def report(self) -> Report:
        """Return the report of now. Raise OtherProtocol for that of a hive-egress of another version."""
        document = (await self._ask(encode_line({"do": "report"}))).get("report")
        version = version_of(document)
        if version is not None and version != VERSION:
            raise OtherProtocol(
                f"hive-egress speaks protocol {version}, this daemon {VERSION}", "restart hive-egress, or this daemon"
            )
        return await asyncio.to_thread(decode_report, document) if _is_large(document) else decode_report(document)

    async def connections(self, agent: AgentName, after: int) -> list[ConnectionRecord]:
        """Return the connections of an agent whose numbers are greater than `after`, and those that go on."""
        answer = await self._ask(encode_line({"do": "connections", "agent": agent, "after": after}))
        return decode_connections(answer.get("connections"))

    async def watch(self) -> AsyncIterator[None]:
        """Yield once after the connection, and once for each change. Raise TransientError at its end."""
        async with _connected(self.path, self._seconds) as (reader, writer):
            async with _in_time(self._seconds):
                writer.write(encode_line({"do": "watch"}))
                await writer.drain()
                _checked(await _line(reader))
            yield
            while True:
                try:
                    await _line(reader)
                except OSError as error:
                    raise _gone(error) from error
                yield

    async def _ask(self, line: bytes) -> Mapping[str, Any]:
        async with _connected(self.path, self._seconds) as (reader, writer), _in_time(self._seconds):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # rejected: the answer has the reason
                writer.write(line)
                await writer.drain()
            return _checked(await _line(reader))


@contextlib.asynccontextmanager
async def _connected(path: Path, seconds: float) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with _in_time(seconds):
        reader, writer = await asyncio.open_unix_connection(str(path), limit=LINE_LIMIT)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@contextlib.asynccontextmanager
async def _in_time(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise TransientError(f"hive-egress does not answer within {seconds:g} s", "see its log") from error
    except OSError as error:
        raise _gone(error) from error


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        line = await reader.readline()
    except ValueError as error:  # a line without an end
        raise BadInput(f"hive-egress answers with more than {LINE_LIMIT} bytes", "see its log") from error
    if not line.endswith(b"\n"):
        raise TransientError("hive-egress ended before it answered", "see its log")
    return line


def _is_large(document: object) -> bool:
    agents = document.get("agents") if isinstance(document, dict) else None
    return isinstance(agents, dict) and len(agents) > LARGE


def _gone(error: OSError) -> TransientError:
    return TransientError(
        f"hive-egress cannot be reached: {error.strerror or error}", "see whether it runs, and its log"
    )


def _checked(line: bytes) -> Mapping[str, Any]:
    """Return an answer. Raise PermanentError with what hive-egress answers if it refused."""
    answer = decode_line(line)
    if answer.get("ok") is not True:
        error, hint = (one_line(str(answer.get(key, "")), TEXT_LIMIT) for key in ("error", "hint"))
        raise PermanentError(f"hive-egress refused: {error}", hint or "see its log")
    return answer

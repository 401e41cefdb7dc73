"""JSON-RPC with an agent: a JSON object a line, both ways. No input of the agent raises an error here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from harness.runtimes.acp.rules import Failure
from harness.runtimes.json_line import parse
from meta.errors import HiveError

Json = dict[str, Any]

_TEXT = 2000
METHOD_NOT_FOUND = -32601


class AgentError(HiveError):
    """The agent answered a request with an error."""

    def __init__(self, method: str, failure: Failure) -> None:
        super().__init__(f"{method}: {failure.text}" if failure.text else f"{method} failed")
        self.failure = failure


class NoAnswer(HiveError):
    """The agent did not answer in time, or ended."""


class Owner(Protocol):
    """Gets what the agent sends by itself, in the order of its lines. Neither method blocks or raises."""

    def notified(self, method: str, params: Json) -> None:
        """Take a notification."""

    def asked(self, method: str, params: Json) -> Json | None:
        """Return the answer to a request of the agent. None: this method is not known."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A line: its value, and what of the protocol it is."""

    value: object
    what: str
    """"response", "notification", "request", "stray" (an answer to nothing), "other" (JSON of another kind), "text"."""


class Peer:
    """Matches answers to requests and answers what the agent asks. `write` returns False if the agent does not read."""

    def __init__(self, write: Callable[[bytes], bool], owner: Owner) -> None:
        self._write = write
        self._owner = owner
        self._next = 0
        self._open: dict[int, tuple[str, asyncio.Future[Any]]] = {}
        self._closed = ""

    def feed(self, data: bytes) -> Parsed:
        """Take a line of the agent."""
        try:
            value = parse(data)
        except ValueError:
            return Parsed(data.decode("utf-8", "replace"), "text")
        if not isinstance(value, dict):
            return Parsed(value, "other")
        method, params = value.get("method"), value.get("params")
        if isinstance(method, str):
            params = params if isinstance(params, dict) else {}
            if "id" in value:
                self._reply(value["id"], method, self._owner.asked(method, params))
                return Parsed(value, "request")
            self._owner.notified(method, params)
            return Parsed(value, "notification")
        return Parsed(value, self._settle(value))

    async def request(self, method: str, params: Json, seconds: float | None) -> Any:
        """Return the result of a request. Raise AgentError for an error, NoAnswer if none comes in `seconds`."""
        future = self.start(method, params)
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            raise NoAnswer(f"the agent did not answer {method} in {seconds:g} s") from None
        finally:
            future.cancel()

    def start(self, method: str, params: Json) -> asyncio.Future[Any]:
        """Send a request and return the future of its result, which raises what `request` raises."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        number = self._next
        self._next += 1
        self._open[number] = method, future
        future.add_done_callback(lambda _: self._open.pop(number, None))
        future.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # also if nobody awaits it
        if self._closed:
            future.set_exception(NoAnswer(self._closed))
        elif not self._send({"id": number, "method": method, "params": params}):
            future.set_exception(NoAnswer(f"the agent does not read its input ({method})"))
        return future

    def notify(self, method: str, params: Json) -> None:
        """Send a notification."""
        self._send({"method": method, "params": params})

    def close(self, why: str) -> None:
        """Fail every open request, and later ones."""
        self._closed = why
        for _, future in list(self._open.values()):
            if not future.done():
                future.set_exception(NoAnswer(why))

    def _send(self, message: Json) -> bool:
        return self._write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def _reply(self, number: object, method: str, answer: Json | None) -> None:
        number = number if isinstance(number, int | str) else None  # an infinite one could not be sent
        if answer is None:
            self._send({"id": number, "error": {"code": METHOD_NOT_FOUND, "message": f"no method {method[:100]}"}})
        else:
            self._send({"id": number, "result": answer})

    def _settle(self, value: Json) -> str:
        number = value.get("id")
        method, future = self._open.get(number, ("", None)) if type(number) is int else ("", None)
        if future is None or future.done() or not ("result" in value or "error" in value):
            return "stray" if "id" in value else "other"
        if value.get("error") is not None:
            future.set_exception(AgentError(method, failure_of(value["error"])))
        else:
            future.set_result(value.get("result"))
        return "response"


def failure_of(error: object) -> Failure:
    """Return the failure in an error of JSON-RPC."""
    if not isinstance(error, dict):
        return Failure(str(error)[:_TEXT])
    code, data = error.get("code"), error.get("data")
    data = data if isinstance(data, dict) else {}
    kind = next((data[key] for key in ("errorKind", "errorName") if isinstance(data.get(key), str)), "")
    return Failure(str(error.get("message", ""))[:_TEXT], code if type(code) is int else None, kind[:_TEXT])

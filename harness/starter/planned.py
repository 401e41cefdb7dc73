"""The grants of a CLI that has bounds, worked out in a process that ends: its imports would stay beside each CLI."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from harness.starter.wire import Json, Wrong, decode, encode
from meta.process.landlock import Grant, Grants

SECONDS = 20.0
"""Seconds until the grants are known. On an idle machine this takes 0.2 s."""
_MOST = 64 * 2**20

Plan = Callable[[Json], Json]
"""Returns {"grants": [...]} or null grants for the bounds of an order, or {"refused": why, "hint": what helps}."""


class CannotHold(Exception):
    """The bounds cannot be held. `report` is what the harness gets."""

    def __init__(self, report: Json) -> None:
        super().__init__(report)
        self.report = report


def planned(bounds: Json, plan: Plan) -> Grants | None:
    """Return the grants, None for none. Raise CannotHold."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(bounds, plan, writer)
    os.close(writer)
    try:
        answer = decode(_read(reader))
        if "refused" in answer:
            raise CannotHold(answer)
        grants = answer["grants"]
        return None if grants is None else tuple(Grant(*row) for row in grants)
    except (Wrong, KeyError, TypeError) as error:
        raise CannotHold({"refused": f"the grants of the CLI could not be worked out: {error}", "hint": ""}) from error
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _answer(bounds: Json, plan: Plan, writer: int) -> NoReturn:
    try:
        answer = encode(plan(bounds))  # before the pipe is closed, or this process would be ended too early to log
        with open(writer, "wb") as file:
            file.write(answer)
    except BaseException:  # noqa: BLE001 - the log has it, and the harness gets that there is no answer
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
    finally:
        os._exit(0)


def _read(reader: int) -> bytes:
    data = bytearray()
    while select.select([reader], [], [], SECONDS)[0]:
        part = os.read(reader, 65536)
        data += part
        if not part:
            return bytes(data)
        if len(data) > _MOST:
            break
    raise Wrong("too late, or too much")

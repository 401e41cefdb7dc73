"""Lines with very many values are read beside the loop, one of an agent's at a time."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from api.lines.decoding import MAX_ON_LOOP, Decoder
from meta.errors import BadInput
from meta.wire.agent import AGENT_REQUEST, Send, Status
from meta.wire.codec import decode
from meta.wire.common import Wire

HEAVY = b'{"cmd":"status","x":[' + b"1," * (MAX_ON_LOOP + 1) + b"1]}"


async def test_a_line_with_many_values_is_read_in_a_thread_and_means_the_same() -> None:
    on_loop: list[bool] = []

    def seen(line: bytes) -> Wire:
        on_loop.append(threading.current_thread() is threading.main_thread())
        return decode(AGENT_REQUEST, line)

    decoder = Decoder(seen)
    assert await decoder(HEAVY) == Status()
    assert await decoder(b'{"cmd":"send","to":"bob","body":"a, b"}') == Send(to="bob", body="a, b")
    assert on_loop == [False, True]


async def test_heavy_lines_of_one_agent_are_read_one_after_the_other() -> None:
    meeting, met = threading.Barrier(2), []

    def meet(_line: bytes) -> None:
        try:
            met.append(meeting.wait(0.1))
        except threading.BrokenBarrierError:
            meeting.reset()

    alice, bob = Decoder(meet), Decoder(meet)
    await asyncio.gather(*(alice(HEAVY) for _ in range(2)))
    assert met == []
    await asyncio.gather(alice(HEAVY), bob(HEAVY))
    assert met != []


async def test_what_is_wrong_in_a_heavy_line_is_told_as_ever() -> None:
    with pytest.raises(BadInput, match="not JSON"):
        await Decoder(partial(decode, AGENT_REQUEST))(b"," * (MAX_ON_LOOP + 1))

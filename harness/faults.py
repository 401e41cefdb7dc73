"""Misbehaviour on purpose (`[start]` in agent.toml), so that the health gate can be tried with a real harness."""

from __future__ import annotations

import asyncio
import logging

from harness.connect import Backoff, connect
from harness.environment import Place
from meta.agent_toml.settings import Fault
from meta.wire.codec import encode
from meta.wire.link import Hello

log = logging.getLogger(__name__)

OLD_GENERATION = "0" * 20
"""What `old-generation` says instead of the generation that was launched."""


async def misbehave(fault: Fault, place: Place, code: int) -> int:
    """Do one fault: never returns, or returns the exit code for `hello-then-exit`."""
    log.info("misbehaving on purpose: %s", fault)
    while fault != "never-hello":
        reader, writer = await connect(place.link, Backoff())
        try:
            writer.write(encode(Hello(generation=place.generation, nonce=place.nonce)) + b"\n")
            await writer.drain()
            if fault == "hello-then-exit":
                return code
            if fault == "mute":
                while await reader.read(65_536):
                    pass
        except OSError as error:
            log.info("the link to hive broke: %s", error)
        finally:
            writer.close()
        await Backoff().wait()
    await asyncio.Event().wait()
    return code

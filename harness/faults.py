"""Faults on purpose (`[start]` in agent.toml), to try the health gate with a real harness."""

from __future__ import annotations

import asyncio
import logging

from harness.connect import Backoff, connect
from harness.environment import Environment
from meta.agent_toml.settings import Fault
from meta.wire.codec import encode
from meta.wire.link import Hello

log = logging.getLogger(__name__)

OLD_GENERATION = "0" * 20
"""The generation that `old-generation` reports instead of the launched one."""


async def misbehave(fault: Fault, environment: Environment, code: int) -> int:
    """Cause one fault. Return `code` for `hello-then-exit`. Never return for the others."""
    log.info("misbehaving on purpose: %s", fault)
    while fault != "never-hello":
        reader, writer = await connect(environment.link, Backoff())
        try:
            writer.write(encode(Hello(generation=environment.generation, nonce=environment.nonce)) + b"\n")
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

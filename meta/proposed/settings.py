"""Read an agent.toml that an agent may have written: outside the event loop, within bounds.

up to SMALL bytes   in a thread: within the bounds of `check_shape` the parser is linear, so this is some milliseconds
larger              in a process of its own, under a deadline and a limit on its memory; what it made of the text is
                    then validated in a thread, which is linear in a bounded number of values
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from pathlib import Path

from meta.agent_toml import toml_program
from meta.agent_toml.settings import SETTINGS_FILE, AgentSettings, parse_settings, settings_of_table
from meta.agent_toml.shape import check_shape
from meta.errors import BadInput
from meta.process.child import OutputTooLarge
from meta.process.run import ProcessTimeout, Streams, run
from meta.text import one_line

SMALL = 8192
"""Bytes that are parsed in a thread. Starting a process for each of many small files would cost more than it saves."""

_PROGRAM = Path(toml_program.__file__)
_SECONDS = 10.0
_MEMORY = 256 * 2**20
_OUTPUT = 4 * 2**20


async def read_settings(data: bytes, where: str = SETTINGS_FILE) -> AgentSettings:
    """Return the settings in `data`. Raise BadInput as `parse_settings` does, and for a text that takes too long."""
    if len(data) <= SMALL:
        return await asyncio.to_thread(parse_settings, data, where)
    await asyncio.to_thread(check_shape, data, where)
    output = await _to_json(data, where)
    return await asyncio.to_thread(lambda: settings_of_table(json.loads(output), where))


async def _to_json(data: bytes, where: str) -> bytes:
    try:
        done = await run(
            [sys.executable, "-I", "-S", _PROGRAM],
            deadline=_SECONDS,
            limits={resource.RLIMIT_AS: _MEMORY, resource.RLIMIT_CPU: int(_SECONDS), resource.RLIMIT_CORE: 0},
            streams=Streams(stdin=data, output_limit=_OUTPUT),
            check=False,
        )
    except (ProcessTimeout, OutputTooLarge) as error:
        raise BadInput(f"{where}: it takes too long to read", "make it simpler; keep long texts in files") from error
    if done.code != 0:
        last = (done.stderr_tail.strip().split("\n") or [""])[-1]
        raise BadInput(one_line(f"{where}: not TOML: {last}"), "see https://toml.io; text needs quotes")
    return done.stdout

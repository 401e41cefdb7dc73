"""A lack of descriptors becomes one line and one count for each incident, whoever meets it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from structlog.stdlib import ProcessorFormatter

from reconciler.telemetry.descriptors import DescriptorFilter, Descriptors, lacks


def watch(loop: asyncio.AbstractEventLoop, descriptors: Descriptors) -> None:
    """Give each lack of descriptors that `loop` or a log record reports to `descriptors`, and leave other errors.

    The filter comes before those that the handlers have (`api.daemon.logs`).
    """

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if lacks(context.get("exception")):
            descriptors.fail()
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, ProcessorFormatter):
            handler.filters.insert(0, DescriptorFilter(descriptors))

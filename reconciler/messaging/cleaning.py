"""The hourly removal of old messages and questions."""

from __future__ import annotations

import asyncio
import logging
import time

from meta.errors import HiveError
from reconciler.messaging.broker import Broker
from reconciler.messaging.questions import Questions

log = logging.getLogger(__name__)

HOUR = 3600.0


async def hourly(broker: Broker, questions: Questions) -> None:
    """Remove old messages and questions, now and then every hour, until cancelled."""
    while True:
        try:
            if count := await broker.clean(time.time()):
                log.info("removed %d messages that were acked over 30 days ago", count)
            if count := await questions.clean(time.time()):
                log.info("removed %d questions that ended over 30 days ago", count)
        except HiveError as error:
            log.warning("old messages and questions cannot be removed now, the next try is in an hour: %s", error)
        await asyncio.sleep(HOUR)

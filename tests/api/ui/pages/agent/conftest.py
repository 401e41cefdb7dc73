"""Live events of alice, as her harness sends them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from meta.names import AgentName
from meta.wire.link import Hello
from reconciler.observe.live import Live, LiveLine
from tests.api.ui.conftest import Ui
from tests.support.live_lines import Event

ALICE = AgentName("alice")


@dataclass
class Log:
    """alice's log: each event has the next id."""

    live: Live
    last: int = 0

    async def emit(self, *events: Event) -> None:
        for event in events:
            self.last += 1
            line = LiveLine(self.last, 1_700_000_000 + self.last, event, json.dumps(event))
            await self.live.take(ALICE, line)


@pytest.fixture
def log(ui: Ui) -> Log:
    """Return the log of alice, whose link hive has."""
    hello: dict[str, Any] = {"generation": "g", "nonce": "n", "log": "log1", "last": 0}
    ui.hive.fake.live.begin(ALICE, Hello.model_validate(hello))
    return Log(ui.hive.fake.live)

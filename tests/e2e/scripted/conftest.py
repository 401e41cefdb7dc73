"""One hive for all tests of this folder, with alice, whose model is RULES."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.lab import Lab, fresh_lab
from tests.support.site import dashboard_settings

RULES = """
[limits]
turn_seconds = 3
[[script]]
when = "poison.*"
crash = 3
[[script]]
when = "sleep"
send = { to = "operator", body = "sleeping" }
sleep = 3600
[[script]]
reply = "did {body}"
"""
SETTINGS = {"HIVE_HEALTH_DEADLINE": "20", "HIVE_TURN_GRACE": "0.2", "HIVE_CRASH_LIMIT": "3"}


@pytest.fixture(scope="package")
def lab() -> Iterator[Lab]:
    with fresh_lab("scripted", {**SETTINGS, **dashboard_settings()}, tiny=False) as made:
        made.spawn("alice")
        assert made.deploy(RULES)["state"] == "deployed", made.tail()
        yield made

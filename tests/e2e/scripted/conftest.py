"""One hive for all tests of this folder, with alice, whose model is RULES."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.dashboard.conftest import browser, browser_context_args, complaints, playwright, site, visit
from tests.support.lab import Lab, fresh_lab
from tests.support.site import dashboard_settings

__all__ = ["browser", "browser_context_args", "complaints", "playwright", "site", "visit"]
"""Fixtures for a browser. Here, not in a module: pytest lets a module's live as long as the session, and with them an
event loop in which no asynchronous test can run.
"""
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

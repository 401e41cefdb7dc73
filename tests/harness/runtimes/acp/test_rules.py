"""What a failure of an agent means, by its text."""

from __future__ import annotations

import pytest

from harness.runtimes.acp.outcome import failed
from harness.runtimes.acp.rules import Failure, ending_of
from harness.runtimes.acp.table import PRESETS
from harness.runtimes.base import Ending
from meta.names import AgentName


@pytest.mark.parametrize(
    "text",
    [
        "SyntaxError at line 512",
        "tool failed: exit code 504",
        "column 567 is not supported",
        "the socket wrench image is invalid",
        "the network diagram has no title",
        "the process was terminated by the rules",
    ],
)
def test_a_failure_that_only_mentions_a_number_or_a_word_is_refused(text: str) -> None:
    assert ending_of(Failure(text), ()) is Ending.REFUSED


@pytest.mark.parametrize(
    "text",
    [
        "503 Service Unavailable",
        "API Error: 529 {}",
        "HTTP 502",
        "HTTP/1.1 500",
        "status code: 429",
        "got status: 503",
        "unexpected status 502 Bad Gateway",
        "request failed with code 504",
        "the API answered 500 Internal Server Error",
        "read ECONNRESET",
        "socket hang up",
        "The socket connection was closed unexpectedly",
        "terminated",
        "network error",
        "Rate limit reached",
    ],
)
def test_an_outage_parks(text: str) -> None:
    assert ending_of(Failure(text), ()) is Ending.PARKED


@pytest.mark.parametrize(("text", "person"), [("unknown model nonsense", True), ("HTTP 503", False)])
def test_only_a_person_can_mend_a_wrong_model(text: str, person: bool) -> None:
    outcome = failed(PRESETS["codex"], Failure(text), agent=AgentName("alice"), session=None)
    assert (outcome.ending, outcome.person) == (Ending.PARKED, person)

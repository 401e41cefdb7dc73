"""Each sentence of the broker's contract names tests, and each of them exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from api.operations.messages import WAIT_DEFAULT
from meta.wire.limits import BODY_BYTES, WAIT_MOST
from reconciler.messaging.reminders import INBOX_BYTES
from reconciler.store.messages import attempts, lists, rows
from reconciler.store.messages.text import KEY_LIMIT

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "broker.md").read_text(encoding="utf-8")
HOW_TO = (ROOT / "docs" / "howto" / "talk.md").read_text(encoding="utf-8")
POINTS = re.findall(r"^- (.*?)(?=^- |^#|^$|\Z)", PAGE, re.MULTILINE | re.DOTALL)


def test_every_sentence_of_the_contract_names_a_test() -> None:
    assert len(POINTS) > 20
    assert [point for point in POINTS if not re.search(r"`test_\w+`", point)] == []


def test_every_test_that_the_contract_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    defined = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert sorted(named - defined) == []


PROMISED = {
    "three attempts": attempts.FAILURES == 3,
    "for the fifth time": attempts.RETURNS == 5,
    "two more turns, or four more": attempts.FAILURES - 1 == 2 and attempts.RETURNS - 1 == 4,
    "at most 1 MiB in UTF-8": BODY_BYTES == 2**20,
    "A key (1 to 200 characters)": KEY_LIMIT == 200,
    "newest 1,000 done messages": rows.DONE_KEPT == 1_000,
    "at most 30 days": lists.KEPT_SECONDS == 30 * 86_400,
    "the newest 100 messages": rows.UNACKNOWLEDGED_KEPT == 100,
    "(30 s by default, 60 s at most)": (WAIT_DEFAULT, WAIT_MOST) == (30, 60),
    "at most 1 MiB of bodies": lists.RECENT_BYTES == 2**20,
}
"""What the contract says, and whether the code agrees."""

TOLD = {
    "up to 1 MiB": BODY_BYTES == 2**20,
    "over 4 KiB": INBOX_BYTES == 4 * 1024,
    "After three such attempts": attempts.FAILURES == 3,
    "every agent whose inbox has room": "goes to every inbox that has room" in PAGE,
    "still one message": "nothing\n  is stored and the answer is the first id" in PAGE,
    "a stop, a deploy, a reboot or a restart of hive is none": "a deploy, a restart of the host" in PAGE,
}
"""What the how-to says, and whether the contract or the code agrees."""


@pytest.mark.parametrize("words", PROMISED)
def test_a_figure_of_the_contract_is_that_of_the_code(words: str) -> None:
    assert words in " ".join(PAGE.split())
    assert PROMISED[words]


@pytest.mark.parametrize("words", TOLD)
def test_the_how_to_says_what_the_contract_promises(words: str) -> None:
    assert words in " ".join(HOW_TO.split())
    assert TOLD[words]

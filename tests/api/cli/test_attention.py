"""`hive attention`, and what `hive status` says of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from api.cli.render.status import attention
from reconciler.attention.notifier import NotifyResult
from reconciler.attention.row import Attention, listed

if TYPE_CHECKING:
    from tests.api.conftest import Hive


async def test_each_row_has_its_severity_age_agent_title_and_command(hive: Hive) -> None:
    code, out, err = await hive.hive("attention")
    assert (code, err) == (0, "")
    heading, row = out.splitlines()
    assert heading.split() == ["SEVERITY", "AGE", "AGENT", "WHAT", "COMMAND"]
    assert row.startswith("normal ")
    assert row.endswith("hive questions 1")
    assert " alice " in row
    assert "question 1: why" in row


async def test_json_has_the_answer_of_the_daemon(hive: Hive) -> None:
    code, out, _ = await hive.hive("attention", "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["counts"] == {"critical": 0, "high": 0, "normal": 1, "low": 0}
    assert [(row["key"], row["link"]) for row in answer["rows"]] == [("question:1", None)]


async def test_an_empty_list_says_that_nothing_needs_you(hive: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing() -> Attention:
        return listed([])

    monkeypatch.setattr(hive.fake, "attention", nothing)
    assert await hive.hive("attention") == (0, "nothing needs you\n", "")


async def test_a_list_that_was_cut_says_how_many_rows_are_missing(hive: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = await hive.fake.attention()

    async def cut() -> Attention:
        return replace(whole, left_out=7)

    monkeypatch.setattr(hive.fake, "attention", cut)
    assert (await hive.hive("attention"))[1].endswith("and 7 more\n")


async def test_what_is_not_notified_yet_is_below_the_list(hive: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    async def held() -> Attention:
        return listed([], notes=("notifications: 2 rows wait until 07:00, HIVE_NOTIFY_QUIET",))

    monkeypatch.setattr(hive.fake, "attention", held)
    note = "notifications: 2 rows wait until 07:00, HIVE_NOTIFY_QUIET\n"
    assert (await hive.hive("attention"))[1] == f"nothing needs you\n{note}"


async def test_a_test_of_notifications_shows_what_came_back_and_fails_if_it_failed(
    hive: Hive, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = await hive.hive("attention", "--test-notify")
    assert (code, out) == (0, "sent to https://ntfy.example/[...] in 0.2 s: HTTP 200\nit answered: thanks\n")

    async def refused() -> NotifyResult:
        return NotifyResult(False, "https://ntfy.example/[...]", "it answered HTTP 403", "", 0.1)

    monkeypatch.setattr(hive.fake, "test_notify", refused)
    code, out, _ = await hive.hive("attention", "--test-notify")
    assert (code, out) == (1, "not sent to https://ntfy.example/[...] in 0.1 s: it answered HTTP 403\n")


def test_status_has_one_line_with_the_numbers_and_none_without_rows() -> None:
    counts = {"critical": 1, "high": 0, "normal": 3, "low": 0}
    assert attention({"attention": counts}) == ["needs attention: 1 critical, 3 normal (`hive attention`)"]
    assert attention({"attention": dict.fromkeys(counts, 0)}) == []
    assert attention({}) == []

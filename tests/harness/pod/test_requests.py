"""What clients asked for: kept, bounded, and read again after a restart even if the agent wrote the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.pod.requests import FILE, NOTICE_LIMIT, NOTICES, Requests
from harness.stop import Cause


def test_a_run_that_was_accepted_outlives_a_restart(tmp_path: Path) -> None:
    Requests(tmp_path).run("work")
    again = Requests(tmp_path)
    message = again.take()
    assert message is not None
    assert again.start(message)
    assert (message.body, message.redelivered, again.run_waits) == ("work", False, False)
    begun = Requests(tmp_path).take()
    assert begun is not None
    assert begun.redelivered  # it may be handled in part
    again.settle(message, None)
    assert not (tmp_path / FILE).exists()
    assert Requests(tmp_path).take() is None


def test_a_paused_run_goes_on_after_a_restart_or_is_given_up(tmp_path: Path) -> None:
    for giving_up in (False, True):
        requests = Requests(tmp_path)
        requests.run("work")
        message = requests.take()
        assert message is not None
        requests.settle(message, Cause.POD)
        requests = Requests(tmp_path)
        assert (requests.paused, requests.take()) == (True, None)
        if giving_up:
            requests.give_up()
            assert (requests.paused, requests.take()) == (False, None)
        else:
            requests.go_on()
            again = requests.take()
            assert again is not None
            assert requests.begin(again).goes_on
            requests.settle(again, None)


def test_texts_for_the_model_wait_in_their_order_and_the_oldest_goes_first(tmp_path: Path) -> None:
    dropped: list[str] = []
    requests = Requests(tmp_path)
    requests.listen(lambda: None, dropped.append)
    for number in range(NOTICES + 2):
        requests.notify(f"text {number}", wake=False)
    assert len(dropped) == 2
    lines = requests.lines()
    assert (len(lines), lines[0], lines[-1]) == (NOTICES, "notification: text 2", f"notification: text {NOTICES + 1}")
    requests.notify("one more that came later", wake=True)
    requests.mark_shown()
    assert [text for text in requests.lines() if "later" in text]
    assert len(requests.lines()) == 1


def test_a_text_alone_begins_a_run_and_one_beside_a_run_is_part_of_it(tmp_path: Path) -> None:
    requests = Requests(tmp_path)
    requests.notify("x" * (NOTICE_LIMIT + 5), wake=True)
    message = requests.take()
    assert message is not None
    assert len(message.body) < NOTICE_LIMIT + 300
    assert not requests.lines()  # the message has it
    requests.notify("came within the turn", wake=False)
    requests.settle(message, None)
    assert requests.lines() == ("notification: came within the turn",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"run": 1, "texts": {}, "paused": "yes", "paused_id": "x"}',
        '{"run": {"id": 5, "input": "of hive"}}',
        '{"run": {"id": -5, "input": 7}, "texts": [1, null, {}]}',
        json.dumps({"run": {"id": -(2**80), "input": "x"}, "given_up": 2**90}),
    ],
)
def test_a_file_that_the_agent_forged_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    requests = Requests(tmp_path)
    assert (requests.take(), requests.paused, requests.lines()) == (None, False, ())
    requests.run("work")
    assert requests.run_waits


@pytest.mark.parametrize("how", ["cancelled", "paused"])
def test_a_run_whose_message_the_loop_has_can_be_taken_back_until_its_turn_begins(tmp_path: Path, how: str) -> None:
    requests = Requests(tmp_path)
    requests.run("work")
    message = requests.take()
    assert message is not None
    assert (requests.run_waits, requests.take()) == (True, None)
    assert requests.cancel() if how == "cancelled" else requests.hold_back()
    assert (requests.is_own(message), requests.start(message)) == (True, False)
    assert requests.take() is None
    requests.go_on()
    again = requests.take()
    assert (again is not None) is (how == "paused")
    if again is not None:
        assert (again.body, again.redelivered, requests.start(again)) == ("work", False, True)
        assert (requests.run_waits, requests.cancel(), requests.hold_back()) == (False, False, False)
        requests.settle(again, None)
    assert not (tmp_path / FILE).exists()

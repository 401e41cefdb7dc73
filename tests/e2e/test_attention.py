"""A new row reaches the operator through a daemon, once, without what an agent wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.lab import Lab


def listen(lab: Lab) -> None:
    """Make the daemon's program keep what it gets, and start the daemon again with it."""
    program = lab.directory / "program"
    program.write_text('#!/bin/sh\ncd "$(dirname "$0")"; cat >> sent; echo >> sent\n', encoding="utf-8")
    program.chmod(0o755)
    lab.stop()
    lab.settings |= {"HIVE_NOTIFY": f"{program} t0k3n", "HIVE_NOTIFY_GROUP": "0.05"}
    lab.start()


pytestmark = pytest.mark.lab(agents=("alice",), backend="fake", prepare=listen)


def sent(lab: Lab) -> list[dict[str, Any]]:
    path = lab.directory / "sent"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def keys(lab: Lab) -> list[str]:
    return [row["key"] for notification in sent(lab) for row in notification["rows"]]


def test_a_question_is_listed_and_notified_once_also_after_a_restart(lab: Lab) -> None:
    asked = lab.ask("alice", cmd="ask", question="may I use the s3cr3t?", options=[], multi=False)["id"]
    lab.until(lambda: f"question:{asked}" in keys(lab))
    lab.stop()
    lab.start()
    again = lab.ask("alice", cmd="ask", question="and now?", options=[], multi=False)["id"]
    lab.until(lambda: f"question:{again}" in keys(lab))
    assert keys(lab).count(f"question:{asked}") == 1
    assert "s3cr3t" not in str(sent(lab))
    assert "may I use the s3cr3t?" in lab.hive("attention").out
    assert "normal (`hive attention`)" in lab.hive("status").out


def test_a_test_says_what_came_back_and_the_target_is_nowhere_to_be_seen(lab: Lab) -> None:
    tested = lab.hive("attention", "--test-notify")
    assert tested.code == 0
    assert f"sent to {lab.directory}/program [...]" in tested.out
    assert any(notification["test"] for notification in sent(lab))
    texts = (lab.hive("status", "--json"), lab.hive("attention", "--json"), lab.hive("doctor", "--json"))
    assert not [text for text in texts if "t0k3n" in text.out + text.err]
    assert "t0k3n" not in Path(lab.log).read_text(encoding="utf-8")

"""The story's chapter about a real coding agent: carol, whose turns the claude CLI does.

The CLI is the real one. The model behind it is a stand-in on her way out, which does what the message says; the login
is a file, as the CLI would write it.
"""

from __future__ import annotations

import os
from typing import Any

from tests.e2e.words import Story, check
from tests.support.fake_messages_api import FakeMessages
from tests.support.real_agents import CLAUDE, Model, log_in, plan, processes_of, send

NAME = "carol"
BODY = "the build is green"


def programs() -> dict[str, str]:
    """Return the settings by which the daemon finds the CLI, if it is there."""
    return {"HIVE_AGENT_PROGRAMS": str(CLAUDE)} if os.access(CLAUDE, os.X_OK) else {}


def real_turn(story: Story) -> None:
    """The chapter, or a line with the reason why it is left out."""
    if not story.has_the_hosts_agents:
        story.skip("a turn of a real coding agent", "left out, its CLI would be of the container's own system")
        return
    if not programs():
        reason = "left out, the claude CLI is not here; `make claude` installs it (235 MB), then `make demo` again"
        story.skip("a turn of a real coding agent", reason)
        return
    story.hive("spawn", NAME, "--runtime", "claude", "--wait")
    waiting = story.until("carol waits for a login", lambda: row_in(story, "needs-login"))
    story.say("`hive spawn carol --runtime claude`", f"phase {waiting['phase']}: `hive login carol`, here a file")
    log_in(story, NAME)
    story.until("carol has her login", lambda: row_in(story, "running"))
    with FakeMessages() as fake:
        api = Model(story, fake)
        api.attach(NAME)
        tell = {**send("operator", BODY), "usage": {"input_tokens": 21_000}}
        story.hive("send", NAME, plan(tell, {"text": "The operator knows."}))
        told = story.until("carol's message", lambda: message(story))
        usage = story.until("what the turn cost", lambda: spent(story))
        calls = len(api.fake.calls("main"))
    row = story.agent(NAME)
    (*_, pid) = processes_of(int(row["pid"]), b"stream-json")
    check(calls == 2, f"the model was asked {calls} times instead of twice")
    seen = f'claude {row["program"]}, pid {pid}, calls hive\'s tool `send`: `hive inbox` has "{told}"'
    story.say("`hive send carol ...`", seen)
    tokens = f"{usage['input_tokens']} tokens in, {usage['output_tokens']} out, ${usage['cost']:.4f}"
    story.say("`hive usage carol`", f"{usage['turns']} turn of {usage['model']}, {tokens}, {usage['seconds']:.1f} s")


def row_in(story: Story, phase: str) -> dict[str, Any] | None:
    """Return carol's row of `hive status` once her phase is this one."""
    row = story.agent(NAME)
    return row if row["phase"] == phase else None


def message(story: Story) -> str | None:
    """Return carol's message to the operator, once `hive inbox` has it."""
    return next((row["body"] for row in story.json("inbox") if (row["from"], row["body"]) == (NAME, BODY)), None)


def spent(story: Story) -> dict[str, Any] | None:
    """Return what carol's turns took today, once hive knows it."""
    models = [model for row in story.json("usage", NAME)["agents"] if row["agent"] == NAME for model in row["models"]]
    return dict(models[0]) if models else None

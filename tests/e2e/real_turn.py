"""The story's chapter about a real coding agent: carol, whose turns the claude CLI does.

The CLI is the real one. The model is a stand-in behind TLS, which does what the message says. carol has no login: the
key for the model is the operator's, and stays outside of her container.
"""

from __future__ import annotations

import os
from typing import Any

from tests.e2e.words import Story, check
from tests.support.fake_messages_api import FakeMessages
from tests.support.memory_search import descendants, in_processes
from tests.support.own_ca import ca_file, server_context
from tests.support.real_agents import CLAUDE, plan, processes_of, send

NAME = "carol"
BODY = "the build is green"
MODELS = "models.example"
KEY = "sk-ant-api03-only-outside"


def programs() -> dict[str, str]:
    """Return the settings by which the daemon finds the CLI, if it is there, and trusts the stand-in."""
    found = {"HIVE_AGENT_PROGRAMS": str(CLAUDE)} if os.access(CLAUDE, os.X_OK) else {}
    return {**found, "SSL_CERT_FILE": str(ca_file())} if found else {}


def real_turn(story: Story) -> None:
    """The chapter, or a line with the reason why it is left out."""
    if not story.has_the_hosts_agents:
        story.skip("a turn of a real coding agent", "left out, its CLI would be of the container's own system")
        return
    if not programs():
        reason = "left out, the claude CLI is not here; `make claude` installs it (235 MB), then `make demo` again"
        story.skip("a turn of a real coding agent", reason)
        return
    with FakeMessages() as fake:
        key_outside(story, fake.listen_tls(server_context(MODELS)))
        story.hive("spawn", NAME, "--runtime", "claude", "--wait")
        story.until("carol can reach a model", lambda: row_in(story, "running"))
        tell = {**send("operator", BODY), "usage": {"input_tokens": 21_000}}
        story.hive("send", NAME, plan(tell, {"text": "The operator knows."}))
        told = story.until("carol's message", lambda: message(story))
        usage = story.until("what the turn cost", lambda: spent(story))
        calls = fake.calls("main")
    check(len(calls) == 2, f"the model was asked {len(calls)} times instead of twice")
    check({call["headers"].get("x-api-key") for call in calls} == {KEY}, "the model was asked without the key")
    row = story.agent(NAME)
    (*_, pid) = processes_of(int(row["pid"]), b"stream-json")
    inside = in_processes(descendants(int(row["pid"])), KEY.encode())
    check(not inside, f"the key is inside: {inside}")
    seen = "she needs no login; the key is in no environment, command line or memory of her processes"
    story.say("a key in network.toml, `hive spawn carol --runtime claude`", seen)
    seen = f'claude {row["program"]}, pid {pid}, calls hive\'s tool `send`: `hive inbox` has "{told}"'
    story.say("`hive send carol ...`", seen)
    tokens = f"{usage['input_tokens']} tokens in, {usage['output_tokens']} out, ${usage['cost']:.4f}"
    story.say("`hive usage carol`", f"{usage['turns']} turn of {usage['model']}, {tokens}, {usage['seconds']:.1f} s")


def key_outside(story: Story, port: int) -> None:
    """Give this hive the key for the stand-in."""
    file = story.state / "model-key"
    file.write_text(f"{KEY}\n", encoding="ascii")
    file.chmod(0o600)
    story.network(f"""private = ["{MODELS}:{port}"]
[hosts]
"{MODELS}" = "127.0.0.1"
[credentials.anthropic]
file = "{file}"
upstream = "https://{MODELS}:{port}"
""")


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

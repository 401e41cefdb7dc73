"""The real claude CLI has a whole turn in a sandbox with the filter, as root and as an ordinary user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from meta.process import sandbox
from meta.process.sandbox import Sandbox
from tests.api.mcp.test_claude_cli import CLAUDE, MODEL, environment
from tests.support.fake_messages import tool_results
from tests.support.fake_messages_api import FakeMessages
from tests.support.in_sandbox import command

NODE = shutil.which("node")
SCRIPT = "git init -q r && cd r && git commit --allow-empty -qm first && git log && grep -w Seccomp /proc/self/status"
pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.skipif(not CLAUDE.exists(), reason="the claude CLI is missing: make claude"),
    pytest.mark.skipif(sandbox.available() is None, reason="bubblewrap is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be another user"),
]


@pytest.fixture
def api() -> Iterator[FakeMessages]:
    with FakeMessages() as fake:
        yield fake


@pytest.mark.parametrize("who", ["agent", "user"])
def test_a_turn_with_a_program_of_its_shell(who: str, api: FakeMessages) -> None:
    variables = {**environment(api, Path("/tmp")), "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b"}
    variables |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    plan = [{"tool": "Bash", "input": {"command": SCRIPT}}, {"text": "all done"}]
    box = Sandbox(
        read_only=((CLAUDE.parent, CLAUDE.parent),), env=tuple(variables.items()), network=True, cwd=Path("/tmp")
    )
    argv = [str(CLAUDE), "-p", "--output-format", "stream-json", "--verbose", "--model", MODEL]
    argv += ["--setting-sources", "", "--allowedTools", "Bash", "--", f"@@plan {json.dumps(plan)}"]
    done = subprocess.run(
        command(who, box, argv), capture_output=True, text=True, timeout=50, stdin=subprocess.DEVNULL, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["type"], last["is_error"], last["result"]) == ("result", False, "all done")
    (result,) = tool_results(api.calls("main")[-1]["body"])
    text = json.dumps(result["content"])
    assert result.get("is_error") is not True, text
    assert "first" in text
    assert r"Seccomp:\t2" in text


@pytest.mark.skipif(NODE is None, reason="node is not installed")
@pytest.mark.parametrize("who", ["agent", "user"])
def test_node_runs_workers_and_programs(who: str) -> None:
    code = """
const {Worker} = require("worker_threads"), {execFileSync} = require("child_process"), os = require("os");
os.networkInterfaces();
new Worker("require('worker_threads').parentPort.postMessage(6 * 7)", {eval: true})
  .on("message", (n) => console.log(n, execFileSync("/bin/echo", ["echo"]).toString().trim()));
"""
    argv = command(who, Sandbox(env=(("PATH", "/usr/bin:/bin"),)), [str(NODE), "-e", code])
    done = subprocess.run(argv, capture_output=True, text=True, timeout=50, stdin=subprocess.DEVNULL, cwd="/")
    assert (done.returncode, done.stdout) == (0, "42 echo\n"), done.stderr

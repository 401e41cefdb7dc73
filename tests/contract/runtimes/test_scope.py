"""The real claude under a scope that the kernel holds: it does its turns, and its shell is kept to the scope."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.runtimes.claude.adapter import ClaudeRuntime
from harness.scope.bounds import Bounds
from harness.scope.needs import needs_of
from harness.scope.plan import Needs
from meta.process.landlock import HOLDS, abi
from meta.scope.rules import READ, WRITE, Rule, Scope
from tests.contract.runtimes.claude_lab import CLAUDE, ClaudeLab
from tests.contract.runtimes.lab import Say, Shell, turn
from tests.contract.runtimes.mcp_server import TinyMcp
from tests.support.fake_messages_api import FakeMessages

pytestmark = [
    pytest.mark.skipif(not CLAUDE.exists(), reason="the claude CLI is missing: make claude"),
    pytest.mark.skipif(abi() < HOLDS, reason="this kernel has no Landlock"),
]


@pytest.fixture
def lab(tmp_path: Path, mcp: TinyMcp) -> Iterator[ClaudeLab]:
    with FakeMessages() as api:
        yield ClaudeLab(tmp_path.resolve(), api, mcp)


def kept(lab: ClaudeLab) -> ClaudeRuntime:
    """Return claude with what the harness would give it, but for /tmp, in which this test is."""
    runtime = lab.make()
    assert isinstance(runtime, ClaudeRuntime)
    spec, temporary = runtime._spec, lab.home / "tmp"
    temporary.mkdir()
    env = {**spec.enclosure.env, "TMPDIR": str(temporary), "CLAUDE_CODE_TMPDIR": str(temporary)}
    found = needs_of(spec.settings, env, lab.home, ())
    needs = Needs((*found.read, str(spec.enclosure.files)), (str(lab.home),))
    scope = Scope((Rule(str(lab.work), WRITE),), (Rule(f"{lab.work}/keys", READ),))
    enclosure = replace(spec.enclosure, env=env, bounds=lambda: Bounds(scope, needs))
    return ClaudeRuntime(replace(spec, enclosure=enclosure))


async def test_claude_does_its_turns_and_its_shell_is_kept_to_the_scope(lab: ClaudeLab, tmp_path: Path) -> None:
    (lab.work / "sub").mkdir()
    (lab.work / "keys").mkdir()
    (lab.work / "keys/secret").write_text("the-secret")
    runtime = kept(lab)
    lab.script(
        Shell(f"cat keys/secret; echo 1 > sub/made; echo 1 > {tmp_path}/outside; echo 1 > keys/new"), Say("done")
    )
    outcome = await turn(runtime, "make it")
    assert outcome.ok, outcome.reason
    await runtime.close()
    assert (lab.work / "sub/made").exists()
    assert not (tmp_path / "outside").exists()
    assert os.listdir(lab.work / "keys") == ["secret"]  # noqa: PTH208
    assert "the-secret" not in lab.conversation()
    assert "Permission denied" in lab.conversation()

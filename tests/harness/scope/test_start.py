"""CLIs that are started under grants: by each adapter, and anew once the grants are others."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.runtimes.acp.adapter import AcpRuntime
from harness.runtimes.acp.table import PRESETS
from harness.runtimes.base import Enclosure, Runtime, RuntimeSpec, TurnOutcome, TurnRequest
from harness.runtimes.claude.adapter import ClaudeRuntime
from harness.scope.bounds import Bounds
from meta.agent_toml.settings import AgentSettings
from meta.names import AgentName
from meta.process.landlock import HOLDS, abi
from meta.scope.rules import READ, WRITE, Rule, Scope
from meta.wire.agent import MessageResponse
from tests.contract.runtimes.lab import Record

pytestmark = pytest.mark.skipif(abi() < HOLDS, reason="this kernel has no Landlock")

CLAUDE = r"""#!/bin/sh
case "$*" in *--version*) echo "2.1.329 (Claude Code)"; exit;; esac
while read -r line; do
    (echo 1 > "$TARGET/by-the-shell") 2>/dev/null
    [ -e "$TARGET/job" ] || { setsid sh -c 'while :; do echo $$ > "$TARGET/job"; sleep 0.01; done' 2>/dev/null & }
    until [ -e "$TARGET/job" ]; do :; done
    echo '{"type": "system", "subtype": "init", "session_id": "s", "model": "m"}'
    echo '{"type": "result", "subtype": "success", "is_error": false, "result": "done"}'
done
"""


class World:
    """A folder that the scope gives at first, and takes away later."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.target = self.folder / "target"
        self.record = Record()
        for name in ("home", "target", "work"):
            (self.folder / name).mkdir()
        self.bounds = Bounds(Scope((Rule("/", READ), Rule("/dev/null", WRITE), Rule(str(self.target), WRITE))))

    def spec(self, command: list[str]) -> RuntimeSpec:
        env = {"PATH": os.environ["PATH"], "TARGET": str(self.target)}
        enclosure = Enclosure(self.folder / "home", self.folder / "work", self.folder / "files", env)
        settings = AgentSettings.model_validate({"runtime": "acp", "command": command})
        return RuntimeSpec(AgentName("a"), False, settings, replace(enclosure, bounds=lambda: self.bounds))

    async def turn(self, runtime: Runtime, session: str | None = None) -> TurnOutcome:
        message = MessageResponse(sender="operator", body="hello", id=1)
        return await runtime.turn(TurnRequest(message, "hello", session), self.record)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_background_job_ends_before_a_smaller_scope_holds(world: World) -> None:
    program = world.folder / "claude"
    program.write_text(CLAUDE)
    program.chmod(0o755)
    runtime = ClaudeRuntime(world.spec([str(program)]))
    first = await world.turn(runtime)
    assert first.ok, first.reason
    job = int((world.target / "job").read_text())
    assert Path(f"/proc/{job}").exists()
    (world.target / "by-the-shell").unlink()
    world.bounds = Bounds(Scope((Rule("/", READ), Rule("/dev/null", WRITE))))
    assert (await world.turn(runtime, first.session)).ok
    assert not Path(f"/proc/{job}").exists()
    assert not (world.target / "by-the-shell").exists()
    assert world.record.notes == ["the scope changed: claude is started again"]
    await runtime.close()


async def test_an_agent_of_the_protocol_is_started_anew_under_other_bounds(world: World) -> None:
    agent = Path(__file__).parents[2] / "support" / "acp_agent.py"
    runtime = AcpRuntime(world.spec([sys.executable, str(agent), "good"]), PRESETS["acp"])
    first = await world.turn(runtime)
    assert first.ok, first.reason
    before = runtime._process
    await world.turn(runtime, first.session)
    assert runtime._process is before
    world.bounds = Bounds(Scope((Rule("/", READ),)))
    await world.turn(runtime, first.session)
    assert runtime._process is not before
    assert "the scope changed: acp is started again" in world.record.notes
    await runtime.close()


async def test_a_scope_that_cannot_be_held_parks_the_turn_with_the_remedy(world: World) -> None:
    world.bounds = Bounds(Scope((Rule("/no/such/folder", READ),)))
    for make in (ClaudeRuntime, lambda spec: AcpRuntime(spec, PRESETS["acp"])):
        outcome = await world.turn(make(world.spec(["/bin/true"])))
        assert outcome.ending == "parked"
        assert "there is nothing yet" in outcome.reason
        assert "make it by `hive shell`" in outcome.reason

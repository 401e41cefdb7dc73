"""The coding agents on the host: run in a sandbox for their version, and compared with what agents need."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from meta.agent_toml.settings import AgentSettings
from meta.config import Config
from reconciler.upkeep.doctor.checks import coding_agents
from reconciler.upkeep.doctor.checks.base import Subject, Verdict
from reconciler.upkeep.doctor.checks.programs import Place, find
from tests.reconciler.upkeep.doctor.looks import look, only, whole_host

pytestmark = pytest.mark.bwrap


def program(tmp_path: Path, name: str, script: str) -> Place:
    folder = tmp_path / "programs"
    folder.mkdir(exist_ok=True)
    tmp_path.chmod(0o755)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return Place(path, binds=((path, path),))


def having(subject: Subject, places: dict[str, Place], monkeypatch: pytest.MonkeyPatch, runtime: str) -> Subject:
    async def settings(_subject: object, agent: str, _sha: object) -> AgentSettings:
        return AgentSettings.model_validate({"runtime": runtime if agent == "alice" else "script"})

    monkeypatch.setattr(coding_agents, "_settings", settings)
    return replace(subject, host=whole_host(programs=lambda _: places))


async def test_versions_are_shown_and_what_is_not_installed(
    bare: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {"claude": program(tmp_path, "claude", 'echo "2.1.329 (Claude Code)"')}
    (row,) = await look(having(bare, places, monkeypatch, "claude"), "clis")
    assert row.verdict is Verdict.OK
    assert row.text.startswith("there are claude 2.1.329; not installed: codex-acp, gemini, opencode")


async def test_an_agent_whose_program_is_missing_fails_with_the_command_that_installs_it(
    bare: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = having(bare, {}, monkeypatch, "codex")
    row = await only(subject, "clis", Verdict.FAIL, "its runtime codex needs codex-acp, which is not installed")
    assert row.remedy.startswith("npm install -g @agentclientprotocol/codex-acp")


@pytest.mark.parametrize("script", ["exit 1", "echo no number", "echo 1.2.3; exit 7", "head -c 999999 /dev/zero"])
async def test_a_program_that_does_not_print_its_version_is_named(
    bare: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    subject = having(bare, {"gemini": program(tmp_path, "gemini", script)}, monkeypatch, "gemini")
    await only(subject, "clis", Verdict.WARN, "does not print its version in a sandbox")
    await only(subject, "clis", Verdict.FAIL, "needs gemini, which does not start")


async def test_a_program_that_hangs_is_ended(bare: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coding_agents, "SECONDS", 0.5)
    subject = having(bare, {"claude": program(tmp_path, "claude", "sleep 60")}, monkeypatch, "script")
    await only(subject, "clis", Verdict.WARN, "does not print its version")


async def test_a_program_sees_nothing_of_the_host_and_has_no_network(
    bare: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"ls {tmp_path} | wc -l | tr -d '\\n'; echo .$(ls /sys/class/net 2>/dev/null | grep -cv lo).0"
    (row, *_) = await look(having(bare, {"claude": program(tmp_path, "claude", script)}, monkeypatch, "script"), "clis")
    assert "claude 1.0.0" in row.text  # its own folder, and no interface


async def test_a_program_that_agents_do_not_see_is_named_with_the_reason(
    bare: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {"claude": Place(Path("/home/ann/bin/claude"), "it is in /home/ann/bin, which agents do not see")}
    row = await only(having(bare, places, monkeypatch, "script"), "clis", Verdict.WARN, "agents cannot run it")
    assert "npm install -g @anthropic-ai/claude-code" in row.remedy


async def test_an_agent_with_a_command_of_its_own_needs_no_program_of_the_list(
    bare: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = having(bare, {}, monkeypatch, "claude")

    async def settings(*_: object) -> AgentSettings:
        return AgentSettings.model_validate({"runtime": "claude", "command": ["/opt/claude"]})

    monkeypatch.setattr(coding_agents, "_settings", settings)
    assert [row.verdict for row in await look(subject, "clis")] == [Verdict.OK]


async def test_the_deployed_agent_toml_counts(bare: Subject) -> None:
    view = await bare.view()
    assert view is not None
    (entry,) = (entry for name, entry in view.desired.agents.items() if name == "alice")
    settings = await coding_agents._settings(bare, "alice", entry.pin.sha)  # type: ignore[arg-type]
    assert settings is not None
    assert settings.label == "one"


async def test_agents_of_another_backend_bring_their_own(bare: Subject) -> None:
    (row,) = await look(replace(bare, backend="nixos"), "clis")
    assert (row.verdict, row.text) == (Verdict.OK, "agents of backend nixos bring their own")


async def test_a_program_elsewhere_is_run_under_the_name_that_agents_see(
    bare: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = program(tmp_path, "claude", "echo 7.8.9")
    config = Config(agent_programs=str(place.path))
    subject = replace(having(bare, {}, monkeypatch, "claude"), host=whole_host(programs=find), config=config)
    assert "claude 7.8.9" in (await look(subject, "clis"))[0].text


def test_each_runtime_but_those_without_a_program_of_their_own_has_one() -> None:
    from meta.agent_toml.runtimes import RUNTIMES

    assert coding_agents.PROGRAMS.keys() == RUNTIMES - {"script", "acp"}
    assert set(coding_agents.PROGRAMS.values()) < coding_agents.INSTALL.keys()

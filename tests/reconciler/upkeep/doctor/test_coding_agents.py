"""The coding agents on the host: run in a sandbox for their version, and compared with what agents need."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meta.agent_toml.clis import CLIS
from meta.agent_toml.runtimes import RuntimeName
from meta.agent_toml.settings import AgentSettings
from meta.config import Config
from reconciler.upkeep.doctor.checks import coding_agents
from reconciler.upkeep.doctor.checks.base import AgentRow, Daemon, Subject, Verdict
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


def daemon(**changes: Any) -> Daemon:
    return replace(Daemon("/state", "1", "local", "plain", "all", "all"), **changes)


def having(subject: Subject, places: dict[str, Place], monkeypatch: pytest.MonkeyPatch, runtime: str) -> Subject:
    async def settings(_subject: object, agent: str, _sha: object) -> AgentSettings:
        return AgentSettings.model_validate({"runtime": runtime if agent == "alice" else "script"})

    monkeypatch.setattr(coding_agents, "_settings", settings)
    return replace(subject, host=whole_host(programs=lambda *_: places))


async def test_versions_are_shown_and_what_is_not_installed(
    bare: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {"claude": program(tmp_path, "claude", 'echo "2.1.329 (Claude Code)"')}
    (row,) = await look(having(bare, places, monkeypatch, "claude"), "clis")
    assert row.verdict is Verdict.OK
    whose = "the PATH of this command, because no daemon answers"
    assert row.text.startswith(f"there are claude 2.1.329 on {whose}; not installed: codex-acp, gemini, opencode")


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
    assert row.verdict is Verdict.OK
    assert row.text == "agents of backend nixos bring their own; without a daemon nobody knows which"


async def test_of_agents_of_another_backend_it_shows_what_their_harnesses_report(bare: Subject) -> None:
    rows = (AgentRow("alice", "running", program="claude 2.1.329"), AgentRow("bob", "parked", problem="it is too old"))
    subject = replace(bare, backend="nixos", daemon=daemon(agents=rows))
    assert [(row.verdict, row.text) for row in await look(subject, "clis")] == [
        (Verdict.OK, "agents of backend nixos bring their own: alice has claude 2.1.329"),
        (Verdict.FAIL, "bob cannot work, says its harness: it is too old"),
    ]


async def test_it_looks_on_the_path_and_with_the_setting_of_the_daemon(bare: Subject) -> None:
    asked: list[tuple[str, str | None]] = []

    def programs(config: Config, path: str | None) -> dict[str, Place]:
        asked.append((config.agent_programs, path))
        return {}

    host = whole_host(programs=programs)
    row, *_ = await look(replace(bare, host=host, daemon=daemon(path="/opt/bin", named="/opt/x")), "clis")
    assert row.text.startswith("there are none on the daemon's PATH;")
    assert asked == [("/opt/x", "/opt/bin")]


@pytest.mark.parametrize(
    ("known", "why"), [(False, "no daemon answers"), (True, "the daemon does not say its own")], ids=["none", "older"]
)
async def test_without_the_path_of_a_daemon_it_says_whose_path_it_used(bare: Subject, known: bool, why: str) -> None:
    subject = replace(bare, host=whole_host(), daemon=daemon() if known else None)
    row, *_ = await look(subject, "clis")
    assert row.text.startswith(f"there are none on the PATH of this command, because {why};")


async def test_a_program_on_the_path_of_the_daemon_alone_is_found(bare: Subject, tmp_path: Path) -> None:
    place = program(tmp_path, "opencode", "echo 1.18.33")
    subject = replace(bare, host=whole_host(programs=find), daemon=daemon(path=str(place.path.parent)))
    assert "opencode 1.18.33" in (await look(subject, "clis"))[0].text


@pytest.mark.parametrize(("runtime", "name", "old"), [("claude", "claude", "2.1.247"), ("codex", "codex-acp", "1.9.0")])
async def test_a_program_that_hive_refuses_as_too_old_fails_with_a_command_that_gets_a_newer_one(
    bare: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: RuntimeName, name: str, old: str
) -> None:
    subject = having(bare, {name: program(tmp_path, name, f"echo {old}")}, monkeypatch, runtime)
    row = await only(subject, "clis", Verdict.FAIL, f"needs {name}, which is too old: {old}")
    assert row.remedy.startswith(CLIS[runtime].install)


async def test_a_missing_program_of_a_login_is_to_look_at(
    bare: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = having(bare, {"codex-acp": program(tmp_path, "codex-acp", "echo 2.6.0")}, monkeypatch, "codex")
    row = await only(subject, "clis", Verdict.WARN, "`hive login alice` needs codex, which is not installed")
    assert row.remedy.startswith("npm install -g @openai/codex")


async def test_what_a_harness_says_of_its_own_command_fails(bare: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = having(bare, {}, monkeypatch, "opencode")

    async def settings(*_: object) -> AgentSettings:
        return AgentSettings.model_validate({"runtime": "acp", "command": ["/opt/agent"]})

    monkeypatch.setattr(coding_agents, "_settings", settings)
    subject = replace(subject, daemon=daemon(agents=(AgentRow("alice", "parked", problem="/opt/agent is missing"),)))
    await only(subject, "clis", Verdict.FAIL, "alice cannot work, says its harness: /opt/agent is missing")


async def test_a_program_elsewhere_is_run_under_the_name_that_agents_see(
    bare: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = program(tmp_path, "claude", "echo 7.8.9")
    config = Config(agent_programs=str(place.path))
    subject = replace(having(bare, {}, monkeypatch, "claude"), host=whole_host(programs=find), config=config)
    assert "claude 7.8.9" in (await look(subject, "clis"))[0].text

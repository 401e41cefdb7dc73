"""What `hive doctor` says about the agents' way out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from meta.agent_toml.settings import AgentSettings
from meta.config import Config
from meta.network.report import AgentReport
from reconciler.upkeep.doctor.checks import egress
from reconciler.upkeep.doctor.checks.base import Subject, Verdict
from tests.reconciler.upkeep.doctor.looks import look, only, whole_host
from tests.support.fake_egress import fake_egress

CHECK = "egress"


async def test_agents_of_backend_fake_need_none(bare: Subject) -> None:
    await only(replace(bare, backend="fake"), CHECK, Verdict.OK, "reach nothing")


async def test_one_that_answers_is_well_and_names_the_keys_that_are_outside(bare: Subject) -> None:
    async with fake_egress(bare.layout.egress_control) as fake:
        fake.routes = {"anthropic": ""}
        await only(bare, CHECK, Verdict.OK, "hive-egress answers (pid 1); keys outside: anthropic")


async def test_what_it_reports_as_wrong_fails_with_what_to_do(bare: Subject) -> None:
    async with fake_egress(bare.layout.egress_control) as fake:
        fake.routes = {"git": "/k: readable by others"}
        await only(bare, CHECK, Verdict.FAIL, "the key git: /k: readable by others")
        fake.routes, fake.problems = {}, ("no more descriptors",)
        await only(bare, CHECK, Verdict.FAIL, "hive-egress: no more descriptors")
        fake.problems = ()
        fake.agents["alice"] = AgentReport(problem="no directory")
        await only(bare, CHECK, Verdict.FAIL, "alice has no way out: no directory")
        fake.version += 1
        fake.agents.clear()
        await only(bare, CHECK, Verdict.FAIL, "speaks protocol 2, this hive 1")


async def test_one_that_does_not_answer_fails_while_a_daemon_runs_or_a_service_is_to_run_it(bare: Subject) -> None:
    await only(bare, CHECK, Verdict.OK, "a daemon starts it")
    await only(replace(bare, held=True), CHECK, Verdict.FAIL, "does not answer")
    service = Config.model_validate({"egress_start": False})
    row = await only(replace(bare, config=service), CHECK, Verdict.FAIL, "does not answer")
    assert "journalctl" in row.remedy


async def test_a_broken_file_or_ceiling_of_the_operator_fails_with_the_key_that_is_wrong(
    bare: Subject, tmp_path: Path
) -> None:
    path = tmp_path / "network.toml"
    path.write_text("[groups]\npy = 3\n")
    here = Config.model_validate({"network_file": str(path)})
    await only(replace(bare, config=here), CHECK, Verdict.FAIL, "groups.py: must be a list of texts")
    path.write_text("")
    beyond = here.model_copy(update={"network_ceiling": "@py"})
    await only(replace(bare, config=beyond), CHECK, Verdict.FAIL, "HIVE_NETWORK_CEILING: '@py' is no group")


async def test_a_broken_file_that_hive_egress_reports_too_is_one_finding(bare: Subject, tmp_path: Path) -> None:
    path = tmp_path / "network.toml"
    path.write_text("[groups]\npy = 3\n")
    subject = replace(bare, config=Config.model_validate({"network_file": str(path)}))
    async with fake_egress(bare.layout.egress_control) as fake:
        fake.problems = (f"{path}: groups.py: must be a list of texts (see docs/reference/network.md)",)
        assert [row.verdict for row in await look(subject, CHECK)].count(Verdict.FAIL) == 1
        fake.routes = {"anthropic": "/k: readable by others"}
        assert "docs/reference/keys.md" in {row.remedy.removeprefix("mend it: ") for row in await look(subject, CHECK)}


async def test_a_proxy_of_the_daemon_is_not_used_and_said_so(bare: Subject) -> None:
    subject = replace(bare, host=whole_host(environment={"HTTPS_PROXY": "http://proxy"}))
    await only(subject, CHECK, Verdict.WARN, "HTTPS_PROXY is set, and hive-egress does not use it")


async def test_a_login_that_lives_in_a_container_is_named_and_a_model_beyond_the_ceiling_fails(
    bare: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def settings(data: bytes) -> AgentSettings:
        return AgentSettings.model_validate({"runtime": "claude" if b'label = "one"' in data else "script"})

    monkeypatch.setattr(egress, "read_settings", settings)
    texts = [row.text for row in await look(bare, CHECK)]
    assert any("the login of alice lives in its container (runtime claude)" in text for text in texts)
    path = tmp_path / "network.toml"
    path.write_text("")
    config = Config.model_validate({"network_file": str(path), "network_ceiling": "*.example.org"})
    await only(
        replace(bare, config=config),
        CHECK,
        Verdict.FAIL,
        "alice cannot reach its model: api.anthropic.com:443 is beyond HIVE_NETWORK_CEILING",
    )
    path.write_text('[credentials.anthropic]\nfile = "/k"\n')
    texts = [row.text for row in await look(replace(bare, config=config), CHECK)]
    assert not any("alice" in text for text in texts)

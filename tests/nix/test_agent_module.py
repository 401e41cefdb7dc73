"""hive.agent and the templates, evaluated; and hive.agent.settings beside meta/agent_toml/settings.py."""

from __future__ import annotations

import json
import re
import types
from typing import Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from harness.owners import OWN
from meta.agent_toml.runtimes import RuntimeName
from meta.agent_toml.settings import AgentSettings, flatten, parse_settings
from meta.errors import BadInput
from meta.names import RESERVED, AgentName
from meta.process.seccomp.unit import settings
from reconciler.privileged.conf import binds
from tests.nix.agent_files import BAD, GOOD
from tests.nix.evaluate import HERE, ROOT, Evaluator
from tests.nix.generate import SECCOMP, seccomp

PACKAGES = (58, 34)
"""How many packages the stub counts in a container without hive and in an agent's, as nix/tests/real-tree.sh does."""


@pytest.fixture(scope="module")
def found(nix: Evaluator) -> Any:
    """Everything, in one evaluation."""
    return nix.json(HERE / "agent.nix", files=json.dumps([*GOOD, *BAD]))


def values(unit: str, key: str) -> list[str]:
    """The values of a key of a unit."""
    return [line.partition("=")[2] for line in unit.splitlines() if line.startswith(f"{key}=")]


def test_the_harness_runs_as_an_ordinary_user(found: Any) -> None:
    alice = found["systems"]["alice"]
    assert alice["failed"] == []
    assert values(alice["unit"], "User") == ["agent"]
    assert values(alice["unit"], "NoNewPrivileges") == ["true"]
    assert (alice["user"]["isNormalUser"], alice["user"]["uid"], alice["user"]["extraGroups"]) == (True, 1000, [])
    assert alice["container"] is True
    assert alice["wanted"] == ["multi-user.target"]


def test_harness_and_coding_agent_are_under_the_filter_of_sandboxes(found: Any) -> None:
    assert SECCOMP.read_text(encoding="utf-8") == seccomp(), "run `python -m tests.nix.generate`"
    systems = found["systems"]
    for unit in (
        *(systems[name]["unit"] for name in ("alice", "manager", "coding")),
        systems["coding"]["starter"]["unit"],
    ):
        assert {key: values(unit, key) for key in settings()} == {key: [value] for key, value in settings().items()}
        assert values(unit, "NoNewPrivileges") == ["true"]


def test_a_coding_agent_has_another_user_than_its_harness_and_no_group_of_the_sockets(found: Any) -> None:
    coding = found["systems"]["coding"]
    unit, starter = coding["unit"], coding["starter"]
    assert (values(unit, "User"), values(unit, "Group")) == (["hive-harness"], ["hive-cli"])
    assert values(unit, "SupplementaryGroups") == ["root"]
    assert (values(starter["unit"], "User"), values(starter["unit"], "Group")) == (["agent"], ["users"])
    assert values(starter["unit"], "SupplementaryGroups") == ["hive-cli"]
    assert (coding["user"]["uid"], coding["user"]["extraGroups"]) == (1000, ["hive-cli"])
    harness = starter["harness"]
    assert (harness["isSystemUser"], harness["extraGroups"], harness["group"]) == (True, [], "hive-cli")
    assert harness["uid"] == starter["group"]["gid"] == 60600


def test_only_the_harness_reaches_the_starter_and_all_that_a_cli_started_ends_with_it(found: Any) -> None:
    coding = found["systems"]["coding"]
    socket, unit = coding["starter"]["socket"], coding["starter"]["unit"]
    (path,) = values(socket, "ListenStream")
    assert [values(socket, key) for key in ("Accept", "SocketUser", "SocketMode")] == [
        ["true"],
        ["hive-harness"],
        ["0600"],
    ]
    assert f'"HIVE_CLI_STARTER={path}"' in values(coding["unit"], "Environment")
    assert "d /run/hive-starter 0700 hive-harness hive-cli - -" in coding["tmpfiles"]
    assert values(coding["unit"], "Requires") == ["hive-cli.socket"]
    (command,) = values(unit, "ExecStart")
    assert command.endswith("/bin/hive-harness cli")
    assert [values(unit, key) for key in ("KillMode", "KillSignal")] == [["control-group"], ["SIGKILL"]]
    assert values(unit, "Before") == ["hive-harness.service"]


def test_what_the_harness_keeps_and_what_it_writes_for_the_cli_have_places_of_their_own(found: Any) -> None:
    coding, alice = found["systems"]["coding"], found["systems"]["alice"]
    for system, words in (
        (coding, "owners /state hive-harness agent hive-cli"),
        (alice, "owners /state agent agent users"),
    ):
        assert not any(" /state " in rule for rule in system["tmpfiles"])
        (before,) = values(system["unit"], "ExecStartPre")
        assert before.startswith("+")
        assert before.endswith(f"/bin/hive-harness {words}")
        assert f'"HIVE_OWN=/state/{OWN}"' in values(system["unit"], "Environment")
    assert "d /run/hive-cli 2750 hive-harness hive-cli - -" in coding["tmpfiles"]
    assert '"HIVE_CLI_FILES=/run/hive-cli"' in values(coding["unit"], "Environment")
    assert "d /home/agent 0700 agent users - -" in coding["tmpfiles"]
    assert values(coding["starter"]["unit"], "LoadCredential") == values(coding["unit"], "LoadCredential")


def test_what_a_scope_denies_is_a_mount_of_the_coding_agents_unit_alone(found: Any) -> None:
    scoped, coding = found["systems"]["scoped"], found["systems"]["coding"]
    keys = ("BindReadOnlyPaths", "InaccessiblePaths", "BindPaths")
    assert [values(scoped["starter"]["unit"], key) for key in keys] == [
        ["-/state/work/a/b"],
        ["-/state/work/a/b/c/d", "-/state/secret"],
        ["-/state/work", "-/state/work/a"],
    ]
    for unit in (scoped["unit"], coding["starter"]["unit"]):
        assert not any(values(unit, key) for key in keys)


def test_hive_and_the_harness_read_what_the_coding_agent_writes_for_them(found: Any) -> None:
    umasks = {name: values(found["systems"][name]["starter"]["unit"], "UMask") for name in ("coding", "leading")}
    assert umasks == {"coding": ["0027"], "leading": ["0022"]}
    assert values(found["systems"]["leading"]["unit"], "UMask") == ["0077"]


def test_a_script_has_the_users_uid_and_no_starter(found: Any) -> None:
    for name in ("alice", "manager"):
        system = found["systems"][name]
        assert values(system["unit"], "User") == ["agent"]
        assert set(system["starter"].values()) == {None}
        assert not any("HIVE_CLI" in value for value in values(system["unit"], "Environment"))


def test_the_harness_is_told_who_and_where_it_is(found: Any) -> None:
    environment = dict(
        json.loads(value).split("=", 1) for value in values(found["systems"]["alice"]["unit"], "Environment")
    )
    assert environment["HIVE_AGENT"] == "alice"
    assert environment["HIVE_ROLE"] == "agent"
    assert environment["HIVE_CONFIG"] == "/etc/hive"
    assert (environment["HIVE_STATE"], environment["HIVE_RUN"]) == ("/state", "/run/hive")
    assert environment["HOME"] == "/home/agent"
    assert environment["HIVE_EGRESS_PORT"] == "3128"
    assert values(found["systems"]["alice"]["unit"], "EnvironmentFile") == ["/run/hive/launch.env"]
    assert '"HIVE_ROLE=manager"' in values(found["systems"]["manager"]["unit"], "Environment")


def test_a_harness_that_ends_ends_its_container_so_that_hive_counts_it(found: Any) -> None:
    unit = found["systems"]["alice"]["unit"]
    assert values(unit, "Restart") == ["no"]
    assert values(unit, "FailureAction") == values(unit, "SuccessAction") == ["exit"]


def test_the_log_reaches_the_host_over_the_console(found: Any) -> None:
    assert "ForwardToConsole=yes" in found["systems"]["alice"]["journald"].splitlines()


def test_the_home_becomes_the_users_and_the_sockets_can_be_reached(found: Any) -> None:
    alice = found["systems"]["alice"]
    assert "d /home/agent 0700 agent users - -" in alice["tmpfiles"]
    assert values(alice["unit"], "SupplementaryGroups") == ["root"]


def test_no_nix_is_inside_unless_the_agent_asks_for_a_daemon_of_its_own(found: Any) -> None:
    for name in ("alice", "manager", "seeded", "boss"):
        assert found["systems"][name]["nix"] == {"enable": False, "settings": {}, "unit": None, "before": []}
    builder = found["systems"]["builder"]
    assert builder["failed"] == []
    assert (builder["nix"]["enable"], builder["nix"]["settings"]) == (True, {"sandbox": False})
    assert builder["nix"]["before"] == ["nix-daemon.socket"]
    assert "nix-daemon.socket" in values(builder["nix"]["unit"], "Before")[0].split()
    (start,) = values(builder["nix"]["unit"], "ExecStart")
    shell, script, folder, registration = start.split()
    assert (shell, folder) == ("/bin/sh", "/var/lib/hive-nix")
    assert script.endswith("-own-nix.sh")
    assert registration.endswith("-closure-info")


@pytest.mark.parametrize("name", ["alice", "manager"])
def test_what_the_helper_binds_is_where_the_harness_looks(found: Any, name: str) -> None:
    unit = found["systems"][name]["unit"]
    inside = {bind.inside for bind in binds(AgentName(name), "manager" if name == "manager" else "agent")}
    environment = dict(json.loads(value).split("=", 1) for value in values(unit, "Environment"))
    looked_at = {environment[key] for key in ("HIVE_STATE", "HIVE_RUN", "HOME")}
    assert looked_at <= inside
    if name == "manager":
        assert {environment["HIVE_AGENTS"], "/applied", "/meta"} <= inside


def test_the_managers_git_may_read_what_the_daemon_owns(found: Any) -> None:
    directories = found["systems"]["manager"]["git"]["safe"]["directory"]
    assert set(directories) == {"/agents/*", "/applied/*", "/meta", "/meta/.git"}
    assert found["systems"]["alice"]["git"] == {}


def test_the_first_commit_of_a_new_agent_evaluates_to_a_system(found: Any) -> None:
    assert found["systems"]["seeded"]["built"] == "nixos-system-alice-stub"
    assert found["systems"]["boss"]["built"] == "nixos-system-manager-stub"


@pytest.mark.parametrize(("system", "role"), [("seeded", "agent"), ("boss", "manager")])
def test_the_harness_reads_from_the_system_what_the_file_says(found: Any, system: str, role: str) -> None:
    original = (ROOT / "meta/templates" / role / "agent.toml").read_bytes()
    written = parse_settings(found["systems"][system]["toml"].encode())
    assert flatten(written) == flatten(parse_settings(original))
    assert [rule.actions for rule in written.script] == [rule.actions for rule in parse_settings(original).script]


def test_a_file_is_handed_on_as_it_is(found: Any) -> None:
    filed = found["systems"]["filed"]
    assert filed["source"].endswith("agent.toml")
    assert filed["toml"] == (ROOT / "meta/templates/agent/agent.toml").read_text(encoding="utf-8")
    assert filed["failed"] == []


def test_a_setting_that_repeats_the_file_is_accepted(found: Any) -> None:
    assert found["systems"]["repeated"]["failed"] == []


def test_an_agents_system_has_nothing_that_gives_rights_and_keeps_its_journal_in_memory(found: Any) -> None:
    slim = found["systems"]["alice"]["slim"]
    assert (slim["sudo"], slim["wrappers"], slim["journal"]) == (False, False, "volatile")
    assert "RuntimeMaxUse=16M" in found["systems"]["alice"]["journald"]


def test_an_agents_system_knows_that_nspawn_mounts_for_it(found: Any) -> None:
    assert found["systems"]["alice"]["slim"]["nspawn"] is True
    assert found["systems"]["full"]["slim"]["nspawn"] is False


def test_an_agents_system_has_no_packages_for_people_desktops_and_machines(found: Any) -> None:
    full = set(found["bare"])
    slim = set(found["systems"]["alice"]["slim"]["packages"])
    assert slim - full == {"git", "hive-harness", "jq"}
    assert {"curl", "openssh"} <= slim, "a workspace is cloned with git, over https or ssh"
    dropped = {"perl", "strace", "man-db", "nano", "sudo", "nixos-rebuild", "logrotate", "shared-mime-info"}
    assert dropped <= full - slim
    assert (len(full), len(slim)) == PACKAGES
    page = (ROOT / "docs/howto/nixos.md").read_text(encoding="utf-8")
    assert f"Of the {PACKAGES[0]} packages" in page
    assert f"an agent's has {PACKAGES[1]}" in page


def test_an_agent_may_bring_back_what_the_template_leaves_out(found: Any) -> None:
    brought = found["systems"]["brought"]["slim"]
    assert brought["journal"] == "persistent"
    assert "nano" in brought["packages"]


def test_packages_uid_and_variables_of_the_agent_reach_the_unit(found: Any) -> None:
    equipped = found["systems"]["equipped"]
    assert equipped["failed"] == []
    assert equipped["user"]["uid"] == 1500
    paths = next(value for value in values(equipped["unit"], "Environment") if value.startswith('"PATH='))
    assert "-ripgrep/bin" in paths
    assert "-hello/bin" in paths
    assert "-claude-code/bin" not in paths
    assert '"EDITOR=true"' in values(equipped["unit"], "Environment")


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("noRuntime", ('runtime = "claude"', "has no such runtime", '"script"')),
        ("managersUid", ("hive.agent.uid = 1500", "leave hive.agent.uid at 1000")),
        ("withoutCli", ("nixpkgs.config.allowUnfreePredicate", "unfree", "pkgs.claude-code")),
        ("idleCommand", ("hive.agent.settings.command", "another runtime")),
        ("asRoot", ("ordinary user",)),
        ("asHarness", ("the harness's own user", '"agent"')),
        ("onHost", ("services.hive",)),
        ("hostsNix", ("hive.agent.nix.enable = true", "daemon of its container's own")),
        ("besideFile", ("hive.agent.settings.label and hive.agent.settings.limits", "write it in agent.toml")),
        ("oldNixpkgs", ("25.05", "25.11 or later", "services.hive.settings.nixpkgs")),
        ("otherIdentity", ("HIVE_AGENT and HOME", "hive sets", "another name")),
        ("longName", ("much-too-long", "11 characters")),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_write_instead(found: Any, case: str, words: tuple[str, ...]) -> None:
    (message,) = found["asserted"][case]
    for word in words:
        assert word in message


def test_a_runtime_brings_its_coding_agent_if_nixpkgs_has_it_and_may(found: Any) -> None:
    coding, own = found["systems"]["coding"], found["systems"]["own"]
    assert coding["failed"] == own["failed"] == []
    paths = [next(v for v in values(each["unit"], "Environment") if v.startswith('"PATH=')) for each in (coding, own)]
    assert ["-claude-code/bin" in path for path in paths] == [True, False]
    assert found["withoutCommand"] == [
        'hive.agent.settings.runtime = "acp" has no coding agent of its own; set hive.agent.settings.command.'
    ]
    (message,) = found["olderNixpkgs"]
    assert "pkgs.codex-acp, which this nixpkgs does not have; set hive.agent.cli.package" in message


def test_the_modules_have_the_runtimes_of_the_harness() -> None:
    text = (ROOT / "nix/modules/agent/runtimes.nix").read_text(encoding="utf-8")
    assert re.findall(r'^  "([\w-]+)"$', text, re.MULTILINE) == list(get_args(RuntimeName))


def test_a_name_that_hive_has_for_itself_is_no_agents(found: Any) -> None:
    (message,) = found["reserved"]
    assert 'networking.hostName = "operator"' in message


def test_the_names_that_the_modules_reserve_are_hives() -> None:
    text = (ROOT / "nix/modules/agent/names.nix").read_text(encoding="utf-8")
    assert set(re.findall(r'^    "(\w+)"$', text, re.MULTILINE)) == RESERVED


def test_every_assertion_has_a_case(found: Any) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "nix/modules/agent").glob("*.nix"))
    assert len(re.findall(r"\bassertion =", text)) == len(found["asserted"])


def test_both_accept_the_same_files(found: Any) -> None:
    for file, written in zip(GOOD, found["files"], strict=False):
        settings = parse_settings(file.encode())
        assert written is not None, f"the module refuses {file!r}"
        again = parse_settings(written.encode())
        without_order = {key: value for key, value in flatten(settings).items() if not key.endswith(" order")}
        assert {key: value for key, value in flatten(again).items() if not key.endswith(" order")} == without_order


def test_both_refuse_the_same_files(found: Any) -> None:
    for file, written in zip(BAD, found["files"][len(GOOD) :], strict=True):
        with pytest.raises(BadInput):
            parse_settings(file.encode())
        assert written is None, f"the module accepts {file!r}"


def test_every_key_of_agent_toml_is_an_option_with_the_same_default(found: Any) -> None:
    options = {option["name"]: option["default"] for option in found["options"]}
    for path, default in keys("", AgentSettings):
        assert path in options
        if default is not ...:
            assert json.loads(options[path] or "null") == default, path
    tables = {name for name in options if any(other.startswith(f"{name}.") for other in options)}
    assert options.keys() - tables == {path for path, _ in keys("", AgentSettings)} - tables


def keys(prefix: str, model: type[BaseModel]) -> list[tuple[str, Any]]:
    """Every key below a model as the module's documentation names it, with its default (... for none)."""
    rows: list[tuple[str, Any]] = []
    for name, field in model.model_fields.items():
        path = prefix + (field.serialization_alias or name)
        below, infix = _table(field.annotation)
        is_group = below is not None and infix == "." and field.default_factory is None and not field.is_required()
        if not (is_group and isinstance(field.default, BaseModel)):
            default = ... if field.is_required() else field.get_default(call_default_factory=True)
            rows.append((path, default))
        if below is not None:
            rows += keys(path + infix, below)
    return rows


def _table(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """The model within an annotation, and what stands between a key and the keys below it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, "."
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return next((found for one in inner if (found := _table(one))[0]), (None, "."))
    if origin is list:
        below, _ = _table(inner[0])
        return below, ".*."
    if origin is dict:
        below, _ = _table(inner[1])
        return below, ".<name>."
    return None, "."

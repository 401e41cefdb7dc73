"""services.hive, evaluated: what an operator gets, and what they are told when it cannot work."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from api.cli.client.exit_codes import Code
from meta.config import Config, config_from_environment
from reconciler.privileged.__main__ import _parser
from reconciler.privileged.values import UIDS, Bounds
from tests.nix.evaluate import HERE, ROOT, Evaluator
from tests.nix.generate import SETTINGS, settings


@pytest.fixture(scope="module")
def found(nix: Evaluator) -> Any:
    """All configurations, in one evaluation."""
    return nix.json(HERE / "host.nix", hyperhive="path:/hive")


@pytest.fixture(scope="module")
def plain(found: Any) -> Any:
    """`services.hive.enable = true` and nothing else."""
    return found["evaluated"]["plain"]


def section(unit: str, name: str) -> dict[str, list[str]]:
    """One section of a unit; each key may come several times."""
    body = unit.split(f"[{name}]\n")[1].split("\n[")[0]
    values: dict[str, list[str]] = {}
    for line in body.splitlines():
        key, _, value = line.partition("=")
        values.setdefault(key, []).append(value)
    return values


def environment(text: str) -> dict[str, str]:
    """An EnvironmentFile with quoted values."""
    return dict(word.split("=", 1) for word in shlex.split(text))


def test_nothing_is_there_before_it_is_enabled(found: Any) -> None:
    off = found["evaluated"]["off"]
    assert (off["units"], off["tmpfiles"], off["variables"], off["user"], off["settings"]) == ({}, [], {}, None, None)


def test_one_line_is_enough_to_enable_it(plain: Any) -> None:
    assert plain["failed"] == []
    assert plain["wanted"]["hive"] == ["multi-user.target"]
    service = section(plain["units"]["hive.service"], "Service")
    (start,) = service["ExecStart"]
    assert start.endswith("/bin/hive serve --state /var/lib/hyperhive --runtime /run/hyperhive")
    assert service["User"] == ["hive"]
    assert service["Group"] == ["hive"]
    assert '"HIVE_BACKEND=nixos"' in service["Environment"]
    assert '"HIVE_BUILDER=nix"' in service["Environment"]
    assert plain["containers"] is True


def test_the_daemon_tells_systemd_that_it_is_up_and_alive(found: Any, plain: Any) -> None:
    service = section(plain["units"]["hive.service"], "Service")
    assert service["Type"] == ["notify"]
    assert service["NotifyAccess"] == ["main"]
    assert section(found["evaluated"]["moved"]["units"]["hive.service"], "Service")["WatchdogSec"] == ["90"]


def test_systemd_watches_the_daemon_exactly_if_it_gives_signs_of_life(plain: Any) -> None:
    watched = "WatchdogSec" in section(plain["units"]["hive.service"], "Service")
    gives = any("WATCHDOG=1" in path.read_text(encoding="utf-8") for path in (ROOT / "api").rglob("*.py"))
    assert watched == gives, "set the default of services.hive.watchdog: 120, or null"


def test_systemd_starts_a_daemon_again_that_ended_by_an_error(plain: Any) -> None:
    unit = plain["units"]["hive.service"]
    assert section(unit, "Service")["Restart"] == ["always"]
    assert section(unit, "Unit")["StartLimitIntervalSec"] == ["0"]


def test_the_daemon_has_no_capability_and_writes_only_its_own_directories(plain: Any) -> None:
    service = section(plain["units"]["hive.service"], "Service")
    assert service["CapabilityBoundingSet"] == [""]
    assert service["AmbientCapabilities"] == [""]
    assert service["NoNewPrivileges"] == ["true"]
    assert service["ProtectSystem"] == ["strict"]
    assert service["ReadWritePaths"] == ["/var/lib/hyperhive"]
    assert service["RuntimeDirectory"] == ["hyperhive"]


def test_root_gives_what_an_older_hive_left_before_the_daemon_starts(plain: Any) -> None:
    service = section(plain["units"]["hive.service"], "Service")
    (before,) = service["ExecStartPre"]
    assert before.startswith("-+")
    assert before.endswith("/bin/hive-privileged take-over --state /var/lib/hyperhive --user hive")


def test_the_sockets_directory_outlives_the_daemon_that_containers_have_bound(plain: Any) -> None:
    service = section(plain["units"]["hive.service"], "Service")
    assert service["RuntimeDirectoryPreserve"] == ["yes"]


def test_what_the_daemon_starts_ends_with_it_where_containers_are_units_of_their_own(found: Any, plain: Any) -> None:
    assert section(plain["units"]["hive.service"], "Service")["KillMode"] == ["mixed"]
    local = found["evaluated"]["local"]["units"]["hive.service"]
    assert section(local, "Service")["KillMode"] == ["process"]


def test_bubblewrap_can_make_its_namespaces_under_the_daemon(plain: Any) -> None:
    service = section(plain["units"]["hive.service"], "Service")
    assert {"user", "mnt", "pid", "net", "ipc", "uts"} <= set(service["RestrictNamespaces"][0].split())
    assert "@mount" in service["SystemCallFilter"]
    assert "AF_NETLINK" in service["RestrictAddressFamilies"][0].split()
    in_the_way = {"ProtectKernelTunables", "ProtectKernelLogs", "ProtectProc", "ProcSubset", "ProtectHostname"}
    assert not in_the_way & service.keys()


def test_only_the_user_hive_may_use_the_root_helpers_socket(plain: Any) -> None:
    socket = section(plain["units"]["hive-privileged.socket"], "Socket")
    assert socket["ListenStream"] == ["/run/hive-privileged/socket"]
    assert socket["SocketMode"] == ["0600"]
    assert socket["SocketUser"] == ["hive"]
    assert plain["wanted"]["hive-privileged"] == ["sockets.target"]


def test_the_root_helper_understands_its_command_line(plain: Any) -> None:
    (line,) = [line for line in plain["helper"].replace("\\\n", " ").splitlines() if line.startswith("exec ")]
    words = shlex.split(re.sub(r'"\$\([^)]*\)"', "990", line))
    options = _parser().parse_args(words[2:])
    assert (options.uid, options.gid, options.owner) == (990, 990, "hive")
    assert (options.state, options.runtime) == (Path("/var/lib/hyperhive"), Path("/run/hyperhive"))
    writable = section(plain["units"]["hive-privileged.service"], "Service")["ReadWritePaths"]
    for path in (options.etc, options.profiles, options.state, options.runtime, options.run):
        assert str(path) in writable
    assert options.records == Path("/var/lib/hive-privileged")


def test_what_the_root_helper_may_write_is_there_before_it_starts(plain: Any) -> None:
    service = section(plain["units"]["hive-privileged.service"], "Service")
    made = {rule.split()[1] for rule in plain["tmpfiles"]}
    assert set(service["ReadWritePaths"]) <= made
    assert service["ProtectSystem"] == ["strict"]
    assert service["PrivateNetwork"] == ["true"]
    assert "CAP_SYS_ADMIN" not in service["CapabilityBoundingSet"][0]


def test_there_is_no_root_helper_where_no_container_needs_it(found: Any) -> None:
    assert set(found["evaluated"]["local"]["units"]) == {"hive.service", "hive-egress.service"}


def test_systemd_starts_no_container_and_a_switch_of_the_host_restarts_none(plain: Any) -> None:
    assert plain["wanted"]["container@"] == []
    assert plain["restarts"] is False


def test_containers_may_have_the_node_that_nspawn_makes_in_them(plain: Any) -> None:
    assert section(plain["units"]["container@.service"], "Service")["DeviceAllow"] == ["/dev/net/tun rwm"]


def test_a_switch_of_the_host_restarts_hives_services_at_its_end(plain: Any) -> None:
    hive = {name: stops for name, stops in plain["stops"].items() if name.startswith("hive")}
    assert hive == {"hive": False, "hive-egress": False, "hive-privileged": False}


def test_a_daemon_that_finds_the_state_of_a_newer_hive_is_not_started_again(plain: Any) -> None:
    service = section(plain["units"]["hive.service"], "Service")
    assert service["RestartPreventExitStatus"] == [str(Code.NEWER.value)]


def test_git_is_told_of_exactly_hives_own_repositories(plain: Any) -> None:
    (rule,) = [rule for rule in plain["tmpfiles"] if ".gitconfig" in rule]
    assert rule.startswith("L+ /var/lib/hyperhive/home/.gitconfig ")
    assert '"HOME=/var/lib/hyperhive/home"' in section(plain["units"]["hive.service"], "Service")["Environment"]
    text = (ROOT / "nix/modules/host/accounts.nix").read_text(encoding="utf-8")
    directories = re.findall(r"directory = (\S+)", text)
    assert directories == ["${state}/meta", "${state}/meta/.git", "${state}/applied/*"]


def test_members_of_the_group_find_the_command_and_the_daemon(found: Any, plain: Any) -> None:
    way_out = {
        "HIVE_EGRESS_START": "false",
        "HIVE_EGRESS_CONTROL": "/run/hive-egress/control.sock",
        "HIVE_NETWORK_FILE": "/etc/hive/network.toml",
    }
    assert plain["variables"] == {"HIVE_STATE": "/var/lib/hyperhive", "HIVE_RUNTIME": "/run/hyperhive"} | way_out
    assert any(package.endswith("-hive-0.1.0") for package in plain["packages"])
    moved = found["evaluated"]["moved"]
    assert moved["groups"]["swarm"]["members"] == ["ada", "grace"]
    assert moved["user"]["group"] == "swarm"
    assert moved["variables"] == {"HIVE_STATE": "/srv/hive", "HIVE_RUNTIME": "/run/hive-two"} | way_out


def test_other_directories_reach_every_unit(found: Any) -> None:
    moved = found["evaluated"]["moved"]
    assert moved["failed"] == []
    service = section(moved["units"]["hive.service"], "Service")
    assert service["RuntimeDirectory"] == ["hive-two"]
    assert service["ReadWritePaths"] == ["/srv/hive"]
    assert '"HIVE_REVISION=abc"' in service["Environment"]
    assert "--state /srv/hive --runtime /run/hive-two" in moved["helper"]
    everything = repr(moved)
    assert "/var/lib/hyperhive" not in everything
    assert "/run/hyperhive" not in everything


def test_another_package_is_run_when_it_is_given(found: Any) -> None:
    packaged = found["evaluated"]["packaged"]
    assert "-hello/bin/hive serve" in packaged["units"]["hive.service"]
    assert "-hello/bin/hive-privileged" in packaged["helper"]


def test_the_daemon_accepts_the_settings_that_the_module_writes(found: Any) -> None:
    config = config_from_environment(environment(found["evaluated"]["configured"]["settings"]))
    assert config == Config(
        builds=4,
        resync=0.5,
        health_deadline=120,
        prebuild=True,
        isolation="required",
        nixpkgs='path:/a "quoted" $place%',
        hyperhive="path:/hive",
        uid_start=1_879_048_192,
        declared="/etc/hive/agents.json",
    )


def test_agents_are_built_from_the_hosts_own_packages(found: Any, plain: Any, stub: Path) -> None:
    given = environment(plain["settings"])
    assert re.fullmatch(r"path:/.*-stub-nixpkgs", given["HIVE_NIXPKGS"])
    assert environment(found["evaluated"]["flaked"]["settings"])["HIVE_NIXPKGS"] == "path:/the/nixpkgs"


def test_the_settings_are_those_of_the_daemon() -> None:
    assert SETTINGS.read_text(encoding="utf-8") == settings(), "run `python -m tests.nix.generate`"


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("stateInHome", ("/home/ada/hive", "below /var/lib")),
        ("stateOnTmpfs", ("/run/hive-state", "emptied at boot")),
        ("stateAtHome", ('"/home"', "below /var/lib")),
        ("stateInEtc", ("/etc/hive", "others' files")),
        ("stateInStore", ("/nix/store/hive", "others' files")),
        ("stateOfContainers", ("/var/lib/nixos-containers/x", "others' files")),
        ("stateOfAll", ('"/var/lib"', "others' files")),
        ("rootsGroup", ('services.hive.group = "root"', "operators")),
        ("oddState", ("my hive", "plain path")),
        ("runtimeElsewhere", ("/var/run-hive", '"/run/hyperhive"')),
        ("oldState", ("21.11", "22.05")),
        ("inContainer", ("itself in one", 'backend = "local"')),
        ("mixed", ('"nixos" with "nix"',)),
        ("withoutNix", ("nix.enable = false",)),
        ("notAllowed", ("nix.settings.allowed-users", 'add "hive"')),
        ("trusted", ("nix.settings.trusted-users", "as mighty as root")),
        ("trustedGroup", ("nix.settings.trusted-users", "@hive")),
        ("trustedAll", ("nix.settings.trusted-users", 'remove "*"')),
        ("trustedWords", ("nix.settings.trusted-users", 'remove "hive"')),
        ("trustedExtra", ("extra-trusted-users", 'remove "hive"')),
        ("trustedLine", ("nix.settings.trusted-users", "nix.extraOptions", 'remove "*"')),
        ("trustedLines", ("nix.settings.trusted-users", 'remove "@hive"')),
        ("trustedTight", ("nix.settings.trusted-users", 'remove "hive"')),
        ("notAllowedLine", ("nix.settings.allowed-users", "nix.extraOptions", 'add "hive"')),
        ("trustedByMembership", ("nix.settings.trusted-users", 'remove "@builders"')),
        ("trustedBySupplement", ("nix.settings.trusted-users", 'remove "@wheel"')),
        ("strangeOperator", ("services.hive.operators", "adda", "no such user")),
        ("credentialOfNobody", ("services.hive.credentials.Alice.x", "a-z, 0-9")),
        ("credentialOfSystemd", ("services.hive.credentials.alice.tmpfiles.extra", "letters, digits")),
        ("credentialLiteral", ("services.hive.credentials.alice.x", "in the store", "sops-nix")),
        ("credentialCopied", ("services.hive.credentials.alice.x", "in the store", "change it")),
        ("credentialStored", ("services.hive.credentials.alice.x", "in the store", "agenix")),
        ("credentialMade", ("services.hive.credentials.alice.x", "in the store", "agenix")),
        ("credentialInEtc", ("services.hive.credentials.alice.x", "in the store", "environment.etc")),
        ("credentialInEtcFolder", ("services.hive.credentials.alice.x", "in the store")),
        ("credentialInStatic", ("services.hive.credentials.alice.x", "in the store")),
        ("credentialAtHome", ("services.hive.credentials.alice.x", "do not see", '"/run/secrets/alice"')),
        ("credentialOdd", ("services.hive.credentials.alice.x", "characters")),
        ("credentialLocal", ('backend = "nixos"', "in its home, below /var/lib/hyperhive/agents")),
        ("notifyByValue", ("services.hive.settings are in the store", "and notify may hold", "notify_file")),
        ("nixpkgsByValue", ("and nixpkgs may hold", "access-tokens")),
        ("nixpkgsByQuery", ("and nixpkgs may hold", "access-tokens")),
        ("hyperhiveBySsh", ("and hyperhive may hold", "access-tokens")),
        ("modulesByValue", ("and agent_modules may hold", "access-tokens")),
        ("notifyInEtc", ("services.hive.settings.notify_file", "in the store")),
        ("notifyCopied", ("services.hive.settings.notify_file", "in the store")),
        ("notifyCredential", ("services.hive.settings.notify_file", "by itself")),
        ("oldNixpkgs", ("25.05", "25.11 or later", "nix flake update nixpkgs")),
        ("managerTaken", ("containers.manager", "rename")),
        ("networkTwice", ("services.hive.network.file", "private of services.hive.network", "remove `file`")),
        ("networkFileAtHome", ("/home/ada/network.toml", "does not see")),
        ("networkFileInState", ("/var/lib/hyperhive/network.toml", "does not see")),
        ("keyMisnamed", ("services.hive.network", "credentials.My_Key", "a-z, 0-9")),
        ("groupMisnamed", ("services.hive.network", "groups.Python", "a-z, 0-9")),
        ("keyLiteral", ("services.hive.network.credentials.anthropic", "in the store", "sops-nix")),
        ("keyMade", ("services.hive.network.credentials.anthropic", "in the store", "agenix")),
        ("keyInEtc", ("services.hive.network.credentials.anthropic", "in the store", "environment.etc")),
        ("keyAtHome", ("services.hive.network.credentials.anthropic", "do not see", '"/run/secrets/anthropic"')),
        ("keyOdd", ("services.hive.network.credentials.anthropic", "characters")),
        ("keyKindless", ("services.hive.network.credentials.work", "needs a kind", "anthropic, ")),
        ("keyNowhere", ("services.hive.network.credentials.http", "needs an upstream")),
        ("ceilingUnknown", ("services.hive.network.ceiling", "@rust", "no such group")),
        ("dashboardLow", ("services.hive.dashboard.port = 443", "services.caddy")),
        ("dashboardOpen", ('address = "0.0.0.0"', "nothing does TLS", "behindProxy")),
        ("dashboardNameless", ("services.hive.dashboard.origin is missing", "https://NAME")),
        ("dashboardHttps", ("https://bee.example", "nothing does TLS", "behindProxy")),
        ("dashboardHalf", ("services.hive.dashboard.tls needs both",)),
        ("dashboardKeyStored", ("services.hive.dashboard.tls", "in the store", "as strings")),
        ("longAgent", ('"twelve-chars"', "11 characters at most", "ve-<name>")),
        ("reservedAgent", ('"operator"', "is none of")),
        ("agentTaken", ('"alice"', "rename one of the two")),
        ("noModule", ("missing.nix", "no NixOS module")),
        ("plainModule", ("services.hive.agents", 'builder = "plain"')),
        ("plainModules", ("services.hive.agentModules", 'builder = "plain"')),
        ("containersOff", ("boot.enableContainers to false", "set it to true")),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_write_instead(found: Any, case: str, words: tuple[str, ...]) -> None:
    (message,) = found["asserted"][case]
    for word in words:
        assert word in message


def test_a_profile_that_turns_containers_off_by_default_is_no_obstacle(found: Any) -> None:
    assert found["asserted"]["minimalProfile"] == []


def test_a_host_that_names_hive_among_the_allowed_users_is_accepted(found: Any) -> None:
    assert found["asserted"]["allowed"] == []


@pytest.mark.parametrize(
    "case",
    ["trustedOthers", "trustedComment", "allowedLines", "knownOperator", "notifyProgram", "sshUser", "networkFileHere"],
)
def test_trust_in_others_an_operator_that_exists_and_a_program_are_accepted(found: Any, case: str) -> None:
    assert found["asserted"][case] == []


def test_a_credential_that_environment_etc_only_links_is_accepted(found: Any) -> None:
    assert found["asserted"]["credentialLinked"] == []


def test_an_operator_that_the_configuration_does_not_declare_is_warned_of(found: Any) -> None:
    (warning,) = found["warned"]["mistypedOperator"]
    assert "services.hive.operators names adda" in warning
    assert found["warned"]["nothing"] == []


@pytest.mark.parametrize(("case", "path"), [("included", "/run/secrets/"), ("includedByForce", "/etc/nix/more.conf")])
def test_a_file_that_nix_extra_options_include_is_warned_of_because_it_cannot_be_read(
    found: Any, case: str, path: str
) -> None:
    (warning,) = found["warned"][case]
    assert path in warning
    assert "trusted-users" in warning
    assert found["asserted"]["trustedComment"] == found["warned"]["commented"] == []


def test_the_highest_uid_to_begin_with_is_the_last_that_the_root_helper_takes() -> None:
    highest = Bounds().uid_last - UIDS + 1
    assert Config.model_validate({"uid_start": highest}).uid_start == highest
    with pytest.raises(ValidationError):
        Config.model_validate({"uid_start": highest + 1})


def test_every_assertion_has_a_case(found: Any) -> None:
    first_words = {
        " ".join(re.sub(r'"[^"]*"', "", message).split()[:6]) for [message] in filter(None, found["asserted"].values())
    }
    assert len(first_words) == len(found["assertions"])
    assert all(found["assertions"])


def test_values_of_the_wrong_kind_are_refused_by_the_evaluation(found: Any) -> None:
    assert all(found["refused"].values()), found["refused"]


def test_systemd_knows_every_line_of_the_units(plain: Any, tmp_path: Path) -> None:
    """systemd says "Unknown key" for what it does not know; it needs no running system for that."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    for name in ("hive.service", "hive-privileged.service", "hive-privileged.socket"):
        text = re.sub(r"^(ExecStart)=\S+", r"\1=/bin/true", plain["units"][name], flags=re.MULTILINE)
        (tmp_path / name).write_text(text, encoding="utf-8")
    words = [
        analyze,
        "verify",
        "--man=no",
        *(str(tmp_path / name) for name in ("hive.service", "hive-privileged.socket")),
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    newer = ("RestartSteps", "RestartMaxDelaySec")  # of systemd 254
    complaints = [
        line for line in done.stderr.splitlines() if str(tmp_path) in line and not any(word in line for word in newer)
    ]
    assert complaints == []

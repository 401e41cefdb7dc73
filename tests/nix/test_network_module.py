"""services.hive.network and hive-egress.service: what the way out gets, what it does not see, and who restarts whom."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from meta.network.operator_file import parse_operator_file
from meta.network.routes import KINDS
from tests.nix.evaluate import HERE, ROOT, Evaluator
from tests.nix.test_host_module import section

LOADED = "/run/credentials/hive-egress.service/"


@pytest.fixture(scope="module")
def found(nix: Evaluator) -> Any:
    """Every configuration of host.nix."""
    return nix.json(HERE / "host.nix", hyperhive="path:/hive")["evaluated"]


def egress(view: Any) -> dict[str, list[str]]:
    """The unit's section [Service]."""
    return section(view["units"]["hive-egress.service"], "Service")


def variables(view: Any, unit: str) -> dict[str, str]:
    """The environment of a unit."""
    lines = section(view["units"][unit], "Service").get("Environment", [])
    return dict(word.split("=", 1) for line in lines for word in shlex.split(line))


def options(view: Any) -> dict[str, str]:
    """The command line of hive-egress, by option."""
    (line,) = [line for line in view["egress"].splitlines() if line.startswith("exec ")]
    words = shlex.split(re.sub(r'"\$\([^)]*\)"', "990", line))
    assert words[1].endswith("/bin/hive-egress")
    return dict(zip(words[2::2], words[3::2], strict=True))


def test_the_options_become_a_file_that_hive_egress_accepts(found: Any) -> None:
    view = found["reaching"]
    assert view["failed"] == []
    file = parse_operator_file(view["network"].encode())
    assert [rule.text for rule in file.private] == ["registry.corp:443", "192.168.1.5:8080"]
    assert dict(file.hosts) == {"registry.corp": "10.1.2.3"}
    assert [rule.host for rule in file.groups["python"]] == ["pypi.org", "files.pythonhosted.org"]
    assert (file.connections, file.bytes_per_second, file.idle_seconds) == (64, 1_000_000, 1200)
    corp, git = file.routes["corp"], file.routes["github"]
    assert (corp.upstream, corp.header, corp.value) == ("https://api.corp:8443", "x-corp-key", "{key}")
    assert corp.paths == (("GET", "/v1/"), ("POST", "/v1/jobs"))
    assert (git.kind, git.user, git.agents) == ("git", "ada", frozenset({"alice"}))
    assert file.expand(variables(view, "hive-egress.service")["HIVE_NETWORK_CEILING"].split())


def test_without_an_option_the_file_is_empty_and_there_is_no_ceiling(found: Any) -> None:
    view = found["plain"]
    assert parse_operator_file(view["network"].encode()).routes == {}
    for unit in ("hive.service", "hive-egress.service"):
        assert "HIVE_NETWORK_CEILING" not in variables(view, unit)


def test_systemd_loads_the_keys_and_no_path_of_them_is_in_the_file(found: Any) -> None:
    view = found["reaching"]
    service = egress(view)
    loaded = dict(line.split(":") for line in service["LoadCredential"])
    files = {"anthropic": "/run/secrets/anthropic", "github": "/run/agenix/github", "corp": "/var/lib/secrets/corp.key"}
    assert loaded == files
    routes = parse_operator_file(view["network"].encode()).routes
    assert {name: route.file for name, route in routes.items()} == {name: f"{LOADED}{name}" for name in files}
    assert "secrets" not in view["network"]


def test_a_key_whose_file_is_missing_leaves_the_unit_startable(found: Any) -> None:
    service = egress(found["reaching"])
    assert sorted(service["SetCredential"]) == [r"anthropic:\n", r"corp:\n", r"github:\n"]


def test_the_daemon_and_hive_egress_read_the_same_file_and_ceiling(found: Any) -> None:
    for name, file in (("reaching", "/etc/hive/network.toml"), ("ownFile", "/etc/hive-network.toml")):
        daemon, way_out = (variables(found[name], unit) for unit in ("hive.service", "hive-egress.service"))
        assert daemon["HIVE_NETWORK_FILE"] == options(found[name])["--network"] == file
        assert daemon["HIVE_NETWORK_CEILING"] == way_out["HIVE_NETWORK_CEILING"]
    assert found["ownFile"]["network"] is None


def test_the_daemon_starts_none_of_its_own_and_asks_the_units_socket(found: Any) -> None:
    for name in ("plain", "local"):
        daemon = variables(found[name], "hive.service")
        assert daemon["HIVE_EGRESS_START"] == "false"
        assert daemon["HIVE_EGRESS_CONTROL"] == options(found[name])["--control"] == "/run/hive-egress/control.sock"


def test_an_operators_doctor_looks_where_the_units_are(found: Any) -> None:
    daemon, shell = variables(found["reaching"], "hive.service"), found["reaching"]["variables"]
    keys = ("HIVE_EGRESS_START", "HIVE_EGRESS_CONTROL", "HIVE_NETWORK_FILE", "HIVE_NETWORK_CEILING")
    assert {key: shell[key] for key in keys} == {key: daemon[key] for key in keys}


def test_it_has_a_user_and_a_group_of_its_own_and_of_hives_users_the_daemon_alone_is_in_the_group(found: Any) -> None:
    service = egress(found["plain"])
    assert (service["User"], service["Group"]) == (["hive-egress"], ["hive-egress"])
    assert found["plain"]["groups"]["hive-egress"]["members"] == ["hive"]
    assert found["moved"]["groups"]["hive-egress"]["members"] == ["hive"]
    assert service["RuntimeDirectoryMode"] == ["0750"]
    assert '--egress-uid "$(' in found["plain"]["helper"]
    assert "/bin/id -u hive-egress)" in found["plain"]["helper"]


def test_with_backend_local_it_has_the_daemons_uid_and_still_a_unit_of_its_own(found: Any) -> None:
    assert egress(found["local"])["User"] == ["hive"]


def test_it_sees_of_hive_only_the_directories_of_its_sockets(found: Any) -> None:
    for name, state, runtime in (
        ("plain", "/var/lib/hyperhive", "/run/hyperhive"),
        ("moved", "/srv/hive", "/run/hive-two"),
    ):
        service = egress(found[name])
        assert service["ProtectSystem"] == ["strict"]
        assert service["TemporaryFileSystem"] == [f"{runtime}:ro"]
        assert service["BindPaths"] == [f"{runtime}/egress"]
        assert options(found[name])["--sockets"] == f"{runtime}/egress"
        assert {f"-{state}", "-/run/hive-privileged", "-/nix/var/nix"} <= set(service["InaccessiblePaths"])
        assert "ReadWritePaths" not in service
    assert "PrivateUsers" not in egress(found["plain"]), "the uid of the daemon would not be seen on the socket"


def test_it_has_no_capability_and_listens_on_unix_sockets_only(found: Any) -> None:
    service = egress(found["plain"])
    assert service["CapabilityBoundingSet"] == [""]
    assert service["SocketBindDeny"] == ["any"]
    assert service["RestrictAddressFamilies"] == ["AF_UNIX AF_INET AF_INET6 AF_NETLINK"]
    assert service["Restart"] == ["always"]
    assert {"MemoryMax", "TasksMax", "LimitNOFILE"} <= service.keys()


def test_either_unit_restarts_without_the_other(found: Any) -> None:
    units = {name: section(found["plain"]["units"][name], "Unit") for name in ("hive.service", "hive-egress.service")}
    assert "hive-egress.service" in units["hive.service"]["Wants"][0].split()
    assert "hive-egress.service" in units["hive.service"]["After"][0].split()
    for unit in units.values():
        assert not {"PartOf", "BindsTo", "Requires", "Requisite"} & unit.keys()
        assert unit["StartLimitIntervalSec"] == ["0"]
    assert found["plain"]["wanted"]["hive-egress"] == ["multi-user.target"]


def test_the_directory_that_containers_have_bound_is_there_from_boot_and_no_unit_makes_it_again(found: Any) -> None:
    for name in ("plain", "local"):
        rules = found[name]["tmpfiles"]
        assert "d /run/hyperhive 0755 hive hive - -" in rules
        assert "d /run/hyperhive/egress 0711 hive hive - -" in rules
        for unit in ("hive.service", "hive-egress.service"):
            made = section(found[name]["units"][unit], "Service").get("RuntimeDirectory", [])
            assert not any("egress" in Path(path).parts and "hyperhive" in Path(path).parts for path in made)


def test_the_kinds_of_keys_are_those_of_hive_egress() -> None:
    text = (ROOT / "nix/modules/host/network-kinds.nix").read_text(encoding="utf-8")
    assert re.findall(r'"([a-z-]+)"', text) == list(KINDS)

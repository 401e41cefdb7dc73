"""services.hive.dashboard: what the daemon gets of it, and that others reach the port only if they are let in."""

from __future__ import annotations

from typing import Any

import pytest

from meta.binding import LOOPBACK, binding_of
from meta.config import config_from_environment
from tests.nix.evaluate import HERE, ROOT, Evaluator
from tests.nix.test_host_module import environment, section


@pytest.fixture(scope="module")
def found(nix: Evaluator) -> Any:
    """The configurations of host.nix."""
    return nix.json(HERE / "host.nix", hyperhive=f"path:{ROOT}")["evaluated"]


def test_one_line_serves_it_on_localhost_and_opens_nothing(found: Any) -> None:
    dashing = found["dashing"]
    binding = binding_of(config_from_environment(environment(dashing["settings"])))
    assert binding is not None
    assert (binding.addresses, binding.origin) == (LOOPBACK, "http://localhost:8420")
    assert dashing["ports"] == []
    service = section(dashing["units"]["hive.service"], "Service")
    assert "PrivateNetwork" not in service
    assert (service["IPAddressDeny"], service["IPAddressAllow"]) == (["any"], ["localhost"])
    assert service["RestrictAddressFamilies"] == ["AF_UNIX AF_NETLINK AF_INET AF_INET6"]
    assert service["AmbientCapabilities"] == [""]


def test_without_it_there_is_no_port(found: Any) -> None:
    assert "HIVE_DASHBOARD" not in found["plain"]["settings"]
    assert section(found["plain"]["units"]["hive.service"], "Service")["PrivateNetwork"] == ["true"]


def test_tls_comes_as_credentials_and_the_firewall_opens_when_asked(found: Any) -> None:
    whole = found["dashingAll"]
    service = section(whole["units"]["hive.service"], "Service")
    assert service["LoadCredential"] == [
        "dashboard-certificate:/var/lib/certs/bee.crt",
        "dashboard-key:/var/lib/certs/bee.key",
    ]
    given = environment(whole["settings"])
    assert "/var/lib/certs" not in repr(given)
    unit = {"HIVE_DASHBOARD_TLS_CERT": "/run/c", "HIVE_DASHBOARD_TLS_KEY": "/run/k"}
    assert all(
        f'"{key}=%d/dashboard-{end}"' in service["Environment"]
        for key, end in zip(unit, ("certificate", "key"), strict=True)
    )
    binding = binding_of(config_from_environment({**given, **unit}))
    assert binding is not None
    assert (binding.addresses, binding.port, binding.origin) == (("100.64.0.7",), 8443, "https://bee.example:8443")
    assert whole["ports"] == [8443]
    assert not {"IPAddressDeny", "IPAddressAllow", "PrivateNetwork"} & service.keys()


def test_the_setting_alone_works_as_before(found: Any) -> None:
    alone = found["dashingBySetting"]
    assert environment(alone["settings"])["HIVE_DASHBOARD_PORT"] == "8000"
    assert "PrivateNetwork" not in section(alone["units"]["hive.service"], "Service")

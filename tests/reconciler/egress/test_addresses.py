"""Addresses that no agent reaches: one row per kind."""

from __future__ import annotations

import pytest

from reconciler.egress import addresses


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("93.184.215.14", ""),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", ""),
        ("127.0.0.1", "loopback"),
        ("127.8.9.10", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("10.1.2.3", "private"),
        ("172.31.255.1", "private"),
        ("192.168.1.1", "private"),
        ("fc00::1", "private"),
        ("fd12:3456::1", "private"),
        ("fec0::1", "private"),
        ("100.64.0.1", "shared"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("169.254.169.254", "metadata"),
        ("100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.250", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("240.0.0.1", "reserved"),
        ("192.0.0.192", "reserved"),
        ("192.0.2.1", "reserved"),
        ("198.18.0.1", "reserved"),
        ("192.88.99.1", "reserved"),
        ("2001:db8::1", "reserved"),
        ("3fff::1", "reserved"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "reserved"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:10.0.0.1", "private"),
        ("::ffff:169.254.169.254", "metadata"),
        ("::ffff:93.184.215.14", ""),
        ("::127.0.0.1", "reserved"),
        ("::ffff:0:10.0.0.1", "reserved"),
        ("2002:7f00:1::1", "loopback"),
        ("2002:a00:1::", "private"),
        ("2002:a9fe:a9fe::", "metadata"),
        ("64:ff9b::7f00:1", "loopback"),
        ("64:ff9b::169.254.169.254", "metadata"),
        ("64:ff9b::93.184.215.14", ""),
        ("64:ff9b:1::10.0.0.1", "reserved"),
        ("no address", "unspecified"),
    ],
)
def test_an_address_has_the_kind_of_its_network(address: str, kind: str) -> None:
    assert addresses.kind_of(address) == kind


def test_a_global_address_of_this_host_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "is_own", lambda address, port: True)

    assert addresses.refusal("93.184.215.14", 443, private=False) == "own"


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "fd12::1", "169.254.169.254", "192.0.2.1"])
def test_the_operator_opens_an_address_that_is_not_global(address: str) -> None:
    assert addresses.refusal(address, 443, private=True) == ""


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "::ffff:0.0.0.0"])
def test_the_operator_does_not_open_what_is_no_host(address: str) -> None:
    assert addresses.refusal(address, 443, private=True)

"""Origins and names: what the settings and proxies may say."""

from __future__ import annotations

import pytest

from meta.config import Config
from meta.errors import BadInput
from reconciler.access.rules import origin_of, user_name


@pytest.mark.parametrize(
    ("given", "text", "authority", "port"),
    [
        ("", "http://localhost:8420", "localhost:8420", 8420),
        ("https://hive.example.org", "https://hive.example.org", "hive.example.org", 443),
        ("https://Hive.Example.org/", "https://hive.example.org", "hive.example.org", 443),
        ("https://hive.example.org:443", "https://hive.example.org", "hive.example.org", 443),
        ("https://hive.example.org:8443", "https://hive.example.org:8443", "hive.example.org:8443", 8443),
        ("https://[fd00::1]:8443", "https://[fd00::1]:8443", "[fd00::1]:8443", 8443),
        ("http://localhost", "http://localhost", "localhost", 80),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(given: str, text: str, authority: str, port: int) -> None:
    origin = origin_of(Config(dashboard_port=8420, dashboard_origin=given))
    assert (origin.text, origin.authority, origin.port) == (text, authority, port)


def test_with_a_certificate_the_origin_has_tls() -> None:
    origin = origin_of(Config(dashboard_port=8420, dashboard_tls_cert="/c", dashboard_tls_key="/k"))
    assert (origin.text, origin.secure, origin.local) == ("https://localhost:8420", True, False)


@pytest.mark.parametrize(
    "given",
    [
        "hive.example.org",
        "ftp://a.example",
        "https://",
        "https://a.example/hive",
        "https://a.example?x",
        "https://u@a.example",
        "https://ä.example",
        "https://a.example:x",
    ],
)
def test_what_is_no_origin_is_refused(given: str) -> None:
    with pytest.raises(BadInput, match="is no origin"):
        origin_of(Config(dashboard_port=8420, dashboard_origin=given))


@pytest.mark.parametrize("name", ["anna", "anna@example.org", "A.B-c_d+e", "x" * 64])
def test_a_users_name_is_kept(name: str) -> None:
    assert user_name(f" {name}\t") == name


@pytest.mark.parametrize("name", ["", "x" * 65, "anna\n", "a b", "<b>", "ann\xe4", "-x", "a,b", "uid 0", "a\x00"])
def test_what_is_no_users_name_is_refused(name: str) -> None:
    with pytest.raises(BadInput):
        user_name(name)

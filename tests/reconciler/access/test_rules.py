"""Origins, and the names that proxies may give."""

from __future__ import annotations

import pytest

from meta.errors import BadInput
from reconciler.access.rules import Origin, user_name


@pytest.mark.parametrize(
    ("text", "authority", "host", "port", "secure"),
    [
        ("http://localhost:8420", "localhost:8420", "localhost", 8420, False),
        ("https://hive.example.org", "hive.example.org", "hive.example.org", 443, True),
        ("https://hive.example.org:8443", "hive.example.org:8443", "hive.example.org", 8443, True),
    ],
)
def test_an_origin_has_what_a_browser_sends_as_host(
    text: str, authority: str, host: str, port: int, secure: bool
) -> None:
    origin = Origin(text)
    assert (origin.authority, origin.host, origin.port, origin.secure) == (authority, host, port, secure)


@pytest.mark.parametrize("name", ["anna", "anna@example.org", "A.B-c_d+e", "x" * 64])
def test_a_users_name_is_kept(name: str) -> None:
    assert user_name(f" {name}\t") == name


@pytest.mark.parametrize("name", ["", "x" * 65, "anna\n", "a b", "<b>", "ann\xe4", "-x", "a,b", "uid 0", "a\x00"])
def test_what_is_no_users_name_is_refused(name: str) -> None:
    with pytest.raises(BadInput):
        user_name(name)

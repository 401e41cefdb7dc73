"""Where the dashboard listens and by which origin: what the settings allow, and what they refuse with its remedy."""

from __future__ import annotations

import pytest

from meta.binding import LOOPBACK, Binding, binding_of
from meta.config import Config
from meta.errors import BadInput

TLS = {"dashboard_tls_cert": "/c.pem", "dashboard_tls_key": "/k.pem"}
NAMED = {"dashboard_origin": "https://hive.example"}
PROXY = {"dashboard_behind_proxy": True}
ANYWHERE = {"dashboard_address": "0.0.0.0"}


def decide(**settings: object) -> Binding:
    binding = binding_of(Config.model_validate({"dashboard_port": 8420, **settings}))
    assert binding is not None
    return binding


def test_without_a_port_there_is_no_dashboard() -> None:
    assert binding_of(Config()) is None


def test_a_name_below_localhost_is_on_both_loopback_addresses_too() -> None:
    own = decide(dashboard_origin="http://hive.localhost:8420")
    assert own == Binding(LOOPBACK, 8420, "http://hive.localhost:8420")


def test_a_port_alone_is_localhost_on_both_loopback_addresses() -> None:
    assert decide() == Binding(LOOPBACK, 8420, "http://localhost:8420")
    assert decide(dashboard_address="localhost").addresses == LOOPBACK


def test_behind_a_proxy_on_the_same_host_one_loopback_address_is_enough() -> None:
    assert decide(**NAMED, **PROXY).addresses == ("127.0.0.1",)


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://Hive.Example/", "https://hive.example"),
        ("https://hive.example:443", "https://hive.example"),
        ("HTTPS://hive.example:8443", "https://hive.example:8443"),
        ("", "http://localhost:8420"),
        ("http://localhost:80", "http://localhost"),
        ("http://bees.localhost:9000", "http://bees.localhost:9000"),
    ],
)
def test_an_origin_is_spelled_as_a_browser_spells_it(written: str, origin: str) -> None:
    assert decide(dashboard_origin=written, **PROXY).origin == origin


@pytest.mark.parametrize(
    ("settings", "what", "remedy"),
    [
        ({"dashboard_origin": "https://10.0.0.1"} | PROXY, "is an address", "NAME"),
        ({"dashboard_origin": "http://127.0.0.1:8420"}, "is an address", "localhost"),
        ({"dashboard_origin": "https://[::1]"} | PROXY, "is an address", "NAME"),
        ({"dashboard_origin": "http://hive.example"}, "not secure", "https"),
        ({"dashboard_origin": "https://hive.example/path"}, "no origin", "https://NAME"),
        ({"dashboard_origin": "https://user@hive.example"}, "no origin", "https://NAME"),
        ({"dashboard_origin": "https://hive.example:x"}, "no origin", "https://NAME"),
        ({"dashboard_origin": "hive.example"}, "no origin", "https://NAME"),
        ({"dashboard_origin": "https://ä.example"}, "no origin", "https://NAME"),
        ({"dashboard_origin": "https://hive.example\r\nx: y"}, "no origin", "https://NAME"),
        (NAMED, "nothing does TLS", "TLS_CERT"),
        (ANYWHERE, "not loopback", "BEHIND_PROXY"),
        (ANYWHERE | NAMED, "not loopback", "BEHIND_PROXY"),
        ({"dashboard_address": "::"}, "not loopback", "BEHIND_PROXY"),
        (ANYWHERE | TLS, "needs HIVE_DASHBOARD_ORIGIN", "https://NAME"),
        (ANYWHERE | PROXY, "needs HIVE_DASHBOARD_ORIGIN", "https://NAME"),
        (TLS | {"dashboard_origin": "http://localhost:8420"}, "does TLS", "HIVE_DASHBOARD_ORIGIN"),
        ({"dashboard_tls_cert": "/c.pem"}, "TLS_KEY is missing", "key"),
        ({"dashboard_address": "hive.example"}, "no IP address", "127.0.0.1"),
        ({"dashboard_proxies": "proxy.example"}, "HIVE_DASHBOARD_PROXIES", "addresses"),
        ({"dashboard_login_header": "Remote-User"}, "believed from nobody", "HIVE_DASHBOARD_PROXIES"),
        ({"dashboard_login_header": "Remote-User"} | PROXY, "believed from nobody", "HIVE_DASHBOARD_PROXIES"),
    ],
)
def test_what_would_not_be_safe_is_refused_with_its_remedy(settings: dict[str, object], what: str, remedy: str) -> None:
    with pytest.raises(BadInput) as refused:
        decide(**settings)
    assert what in refused.value.summary
    assert remedy in refused.value.hint


def test_with_a_certificate_alone_localhost_has_tls() -> None:
    assert decide(**TLS).origin == "https://localhost:8420"


def test_another_address_is_fine_with_tls_or_behind_a_proxy() -> None:
    assert decide(**ANYWHERE, **TLS, **NAMED).certificate == "/c.pem"
    proxied = decide(**ANYWHERE, **PROXY, **NAMED, dashboard_proxies="10.0.0.2 0:0::1")
    assert proxied.proxies == {"10.0.0.2", "::1"}

"""Who came by a proxy in the last minutes."""

from __future__ import annotations

from reconciler.access.proxied import SEEN, Proxied


def test_a_browser_is_listed_from_its_first_request_until_minutes_after_its_last_one() -> None:
    proxied = Proxied()
    proxied.note("anna", "Phone\n", 100.0)
    proxied.note("ben", "Laptop", 200.0)
    proxied.note("anna", "Phone\n", 300.5)
    assert [(view.by, view.made_at, view.used_at) for view in proxied.present(301.0)] == [
        ("operator anna", 100, 300),
        ("operator ben", 200, 200),
    ]
    assert [view.by for view in proxied.present(200.0 + SEEN)] == ["operator anna"]
    proxied.note("ben", "Laptop", 1_000.0)
    assert proxied.present(1_000.0)[0].made_at == 1_000, "after a pause it is a new one"


def test_only_so_many_are_kept_and_the_last_ones() -> None:
    proxied = Proxied()
    for n in range(1_200):
        proxied.note("anna", f"Browser {n}", float(n) / 100)
    assert [view.browser for view in proxied.present(12.0)][::999] == ["Browser 1199", "Browser 200"]

"""What `hive doctor` says about the dashboard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace

from meta.config import Config
from reconciler.upkeep.doctor.checks.base import Daemon, Subject, Verdict
from tests.reconciler.upkeep.doctor.looks import look, only, whole_host
from tests.support.own_ca import server_file

CHECK = "dashboard"
DAEMON = Daemon("/s", "1", "fake", "plain", "", "")
LASTING = 30
"""Days that the tests' certificates last."""
NAMED = {"dashboard_origin": "https://a.test"}


def settings(port: int = 8420, others: Mapping[str, object] | None = None) -> Config:
    return Config.model_validate({"dashboard_port": port, **(others or {})})


async def test_no_dashboard_is_fine(bare: Subject) -> None:
    await only(bare, CHECK, Verdict.OK, "there is none")


async def test_approvals_by_a_touch_without_a_dashboard_to_touch_on_are_warned_of(bare: Subject) -> None:
    config = settings(0, {"dashboard_approve_by_passkey": True})
    row = await only(replace(bare, config=config), CHECK, Verdict.WARN, "only root approves")
    assert "HIVE_DASHBOARD_PORT" in row.remedy


async def test_a_setting_that_is_not_safe_fails_with_its_remedy(bare: Subject) -> None:
    row = await only(
        replace(bare, config=settings(others={"dashboard_address": "0.0.0.0"})), CHECK, Verdict.FAIL, "is not loopback"
    )
    assert "HIVE_DASHBOARD_TLS_CERT" in row.remedy


async def test_one_that_answers_is_well(bare: Subject) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        daemon = replace(DAEMON, dashboard=f"http://localhost:{port}")
        for config in (settings(port), Config()):  # with the daemon's settings here, and without
            found = await look(replace(bare, config=config, daemon=daemon), CHECK)
            assert {row.verdict for row in found} == {Verdict.OK}
            assert f"open http://localhost:{port}" in found[0].text


async def test_a_name_that_other_servers_of_the_host_share_is_noted_with_the_way_to_an_own_one(bare: Subject) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        own = f"http://hive.localhost:{port}"
        daemon = replace(DAEMON, dashboard=f"http://localhost:{port}")
        note = (await look(replace(bare, config=settings(port), daemon=daemon), CHECK))[-1]
        assert (note.verdict, "every other server of this host" in note.text) == (Verdict.OK, True)
        assert f"HIVE_DASHBOARD_ORIGIN={own} " in note.remedy
        config = settings(port, {"dashboard_origin": own})
        await only(replace(bare, config=config, daemon=replace(DAEMON, dashboard=own)), CHECK, Verdict.OK, own)


async def test_a_port_on_which_nothing_answers_fails(bare: Subject) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    daemon = replace(DAEMON, dashboard=f"http://localhost:{port}")
    await only(replace(bare, config=settings(port), daemon=daemon), CHECK, Verdict.FAIL, "nothing answers")


async def test_what_the_daemon_reports_fails_here_and_not_also_below_status(bare: Subject) -> None:
    busy = "the dashboard is not served: port 8420 is in use by another process"
    troubled = replace(bare, daemon=replace(DAEMON, dashboard="http://localhost:8420", notes=(busy,)))
    await only(troubled, CHECK, Verdict.FAIL, busy)
    (row,) = await look(troubled, "status")
    assert row.verdict is Verdict.OK


async def test_settings_that_the_daemon_does_not_have_are_to_look_at(bare: Subject) -> None:
    await only(replace(bare, config=settings(), daemon=DAEMON), CHECK, Verdict.WARN, "the daemon serves no dashboard")


async def test_a_certificate_is_warned_of_before_its_end_and_fails_after_it(bare: Subject) -> None:
    file = str(server_file("a.test"))
    config = settings(others={"dashboard_tls_cert": file, "dashboard_tls_key": file, **NAMED})

    def at(days: float) -> Subject:
        return replace(bare, config=config, host=whole_host(now=lambda: time.time() + days * 86_400))

    await only(at(0), CHECK, Verdict.OK, "no daemon runs")
    await only(at(LASTING - 3), CHECK, Verdict.WARN, "was not renewed")
    await only(at(LASTING + 3), CHECK, Verdict.FAIL, "days ago")


async def test_a_certificate_that_cannot_be_used_fails(bare: Subject) -> None:
    config = settings(others={"dashboard_tls_cert": "/nowhere/c", "dashboard_tls_key": "/nowhere/k", **NAMED})
    await only(replace(bare, config=config), CHECK, Verdict.FAIL, "/nowhere/c")


async def test_a_login_header_from_loopback_is_to_look_at(bare: Subject) -> None:
    proxied = {"dashboard_behind_proxy": True, "dashboard_login_header": "Remote-User", **NAMED}
    near = settings(others={"dashboard_proxies": "127.0.0.1", **proxied})
    await only(replace(bare, config=near), CHECK, Verdict.WARN, "every program of this host")
    far = settings(others={"dashboard_proxies": "10.0.0.2", **proxied})
    await only(replace(bare, config=far), CHECK, Verdict.OK, "no daemon runs")

"""The dashboard in the daemon: it waits for its port and its files for ever, says why, and nothing waits for it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from api.daemon import dashboard
from api.daemon.dashboard import serve_dashboard
from api.http.asgi import App
from meta.config import Config
from meta.errors import PermanentError
from reconciler.common.tasks import Background
from reconciler.telemetry.dashboard import DashboardState
from tests.api.ui.test_server import app, ask, trusting
from tests.support.own_ca import server_file


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(dashboard, "LONGEST_WAIT", 0.02)
    monkeypatch.setattr(dashboard, "RENEWAL", 0.01)


def make() -> App:
    return app


@asynccontextmanager
async def served(
    state: DashboardState, settings: Mapping[str, object] | None = None, make_app: dashboard.MakeApp = make
) -> AsyncIterator[int]:
    port, background = free_port(), Background()
    config = Config.model_validate({"dashboard_port": port, **(settings or {})})
    async with asyncio.timeout(20), serve_dashboard(background, config, state, asyncio.Event(), make_app):
        yield port
    assert background.failure is None


async def until(state: DashboardState) -> None:
    """Wait until it is served."""
    while not state.served:
        await asyncio.sleep(0.001)


async def trouble(state: DashboardState) -> str:
    """Wait for trouble, and return its text."""
    while not state.troubles():
        await asyncio.sleep(0.001)
    ((_, text),) = state.troubles()
    return text


async def test_the_dashboard_answers_by_its_origin_until_the_block_ends() -> None:
    state = DashboardState()
    async with served(state) as port:
        await until(state)
        assert b"200 OK" in await ask(port)
        assert (state.origin, state.troubles()) == (f"http://localhost:{port}", ())
    assert not state.served
    with pytest.raises(ConnectionRefusedError):
        await ask(port)


async def test_the_first_try_is_over_soon_whatever_comes_of_it() -> None:
    state, background, stopping = DashboardState(), Background(), asyncio.Event()
    for settings in ({}, {"dashboard_port": free_port()}, {"dashboard_port": 1, "dashboard_address": "0.0.0.0"}):
        config = Config.model_validate(settings)
        async with asyncio.timeout(20), serve_dashboard(background, config, state, stopping, make) as tried:
            await tried.wait()


async def test_without_a_port_nothing_is_served_and_nothing_is_wrong() -> None:
    state = DashboardState()
    async with served(state, {"dashboard_port": 0}):
        assert not state.wanted


async def test_settings_that_are_not_safe_are_reported_and_end_nothing() -> None:
    state = DashboardState()
    async with served(state, {"dashboard_address": "0.0.0.0"}):
        text = await trouble(state)
        assert "is not loopback" in text
        assert "HIVE_DASHBOARD_BEHIND_PROXY" in text
        assert not state.served


async def test_a_busy_port_is_an_alarm_until_it_is_free() -> None:
    state, other = DashboardState(), socket.socket()
    other.bind(("127.0.0.1", 0))
    other.listen()
    port = other.getsockname()[1]
    async with served(state, {"dashboard_port": port}):
        assert f"port {port} is in use" in await trouble(state)
        assert not state.served
        other.close()
        await until(state)
        assert b"200 OK" in await ask(port)
        assert state.troubles() == ()


async def test_an_application_that_cannot_be_made_is_tried_again() -> None:
    state, errors = DashboardState(), [PermanentError("no assets", "make setup"), RuntimeError("a mistake")]

    def failing() -> App:
        if errors:
            raise errors.pop()
        return app

    async with served(state, make_app=failing) as port:
        await until(state)
        assert b"200 OK" in await ask(port)


async def test_a_certificate_that_comes_late_and_changes_is_used_without_a_restart(tmp_path: Path) -> None:
    state, file = DashboardState(), tmp_path / "both.pem"
    tls = {"dashboard_tls_cert": str(file), "dashboard_tls_key": str(file), "dashboard_origin": "https://a.test"}
    async with served(state, tls) as port:
        assert "cannot use the certificate" in await trouble(state)
        put(file, server_file("a.test").read_bytes())
        await until(state)
        assert b"200 OK" in await ask(port, trusting())
        put(file, b"nothing")
        assert "keeps its old certificate" in await trouble(state)
        assert b"200 OK" in await ask(port, trusting())
        put(file, server_file("a.test", "b.test").read_bytes())
        while state.troubles():
            await asyncio.sleep(0.001)
        assert b"200 OK" in await ask(port, trusting())


async def test_a_certificate_near_its_end_is_an_alarm_until_it_is_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, file = DashboardState(), tmp_path / "both.pem"
    put(file, server_file("a.test").read_bytes())
    tls = {"dashboard_tls_cert": str(file), "dashboard_tls_key": str(file), "dashboard_origin": "https://a.test"}
    monkeypatch.setattr(dashboard, "RENEWED_BEFORE", 31)  # the tests' last for 30 days
    async with served(state, tls) as port:
        assert "the dashboard's certificate ends at 20" in await trouble(state)
        assert b"200 OK" in await ask(port, trusting())
        monkeypatch.setattr(dashboard, "RENEWED_BEFORE", 14)
        while state.troubles():
            await asyncio.sleep(0.001)


def put(file: Path, content: bytes) -> None:
    """Replace the file as a renewal does."""
    new = file.with_suffix(".new")
    new.write_bytes(content)
    new.replace(file)

"""/metrics and /healthz on http.sock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from api.cli.client.http import Client
from api.cli.client.paths import Where
from api.daemon.operator_sockets import serve_operator
from api.operations import upkeep
from meta.errors import PermanentError, TransientError
from reconciler.telemetry.metrics import Metrics
from reconciler.views import Status
from tests.api.http.test_app import UnixConnection
from tests.support.fake_service import FakeService

if TYPE_CHECKING:
    from tests.api.conftest import Hive


class Measured(FakeService):
    """A service with metrics; `trouble` is what a look at the agents raises, `hangs` until when it takes."""

    trouble: Exception | None = None
    hangs: asyncio.Event | None = None

    async def metrics(self) -> bytes:
        return Metrics().render(None, 3)

    @override
    async def status(self) -> Status:
        if self.hangs is not None:
            await self.hangs.wait()
        if self.trouble is not None:
            raise self.trouble
        return await super().status()


@pytest.fixture
async def measured(pods: Hive) -> AsyncIterator[Measured]:
    service = Measured(pods.layout, pods.fake.events, pods.fake.broker)
    service.attach(pods.fake.database, pods.layout.state)
    async with serve_operator(service.parts(), pods.layout, pods.config, pods.stopping):
        yield service


async def get(service: Measured, path: str) -> tuple[int, str, str]:
    def ask() -> tuple[int, str, str]:
        connection = UnixConnection(service.layout.http_socket)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.headers["content-type"], response.read().decode()
        finally:
            connection.close()

    return await asyncio.to_thread(ask)


async def test_metrics_come_as_prometheus_reads_them(measured: Measured) -> None:
    status, kind, text = await get(measured, "/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "\nhive_queue_depth 3.0\n" in text


async def test_a_daemon_that_can_read_what_it_works_with_is_well(measured: Measured) -> None:
    status, kind, text = await get(measured, "/healthz")
    assert (status, kind) == (200, "application/json")
    assert text == '{"status":"ok","database":"ok","agents":"ok"}'


async def test_one_that_cannot_says_what_is_wrong(measured: Measured) -> None:
    measured.trouble = PermanentError("agents.json: not JSON", "mend it")
    status, kind, text = await get(measured, "/healthz")
    assert (status, kind) == (503, "application/problem+json")
    assert "agents: agents.json: not JSON" in text
    client = Client(Where(measured.layout.state, measured.layout.runtime))
    with pytest.raises(TransientError, match=r"agents: agents\.json"):
        await asyncio.to_thread(client.get, "/healthz")


async def test_one_that_hangs_is_not_waited_for(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "HEALTH_SECONDS", 0.05)
    measured.hangs = asyncio.Event()
    status, _, text = await get(measured, "/healthz")
    measured.hangs.set()
    assert status == 503
    assert "agents: no answer within 0.05 s" in text

"""GET /metrics and /healthz on `http.sock`: for what watches hive from outside."""

from __future__ import annotations

import asyncio

from litestar import Response, get

from api.requests import Ask, service_of
from meta.errors import HiveError, TransientError
from reconciler.metrics import CONTENT_TYPE

HEALTH_SECONDS = 5.0
"""How long the daemon may take to look at itself."""


@get("/metrics")
async def metrics(request: Ask) -> Response[bytes]:
    """Every metric, as Prometheus reads it. docs/reference/metrics.md"""
    return Response(await service_of(request).metrics(), media_type=CONTENT_TYPE)


@get("/healthz")
async def healthz(request: Ask) -> dict[str, str]:
    """200 while the daemon can read what it works with, else 503 with what is wrong as a problem.

    That agents are down does not matter here: restarting the daemon would not help them.
    """
    service = service_of(request)
    parts: dict[str, str] = {}
    for name, look in (("database", service.events.last), ("agents", service.status)):
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                await look()
            parts[name] = "ok"
        except HiveError as error:
            parts[name] = error.summary
        except TimeoutError:
            parts[name] = f"no answer within {HEALTH_SECONDS:g} s"
    wrong = [f"{name}: {word}" for name, word in parts.items() if word != "ok"]
    if wrong:
        raise TransientError("; ".join(wrong), "see the daemon's log; `hive doctor` looks at more")
    return {"status": "ok", **parts}


METRICS = [metrics, healthz]

"""What the server of a lab's daemons loads before it forks the first of them, so that none has to load it again."""

# ruff: noqa: F401

from __future__ import annotations

import gc

import anyio._backends._asyncio
import litestar.plugins.pydantic
import uvicorn.protocols.http.h11_impl

import api.cli.commands.serve
import api.daemon.serve
import api.daemon.web
import api.http.app
import reconciler.daemon.daemon
import tests.support.lab_daemon

for route_handler in api.http.app.route_handlers():  # a daemon builds each at its first answer
    assert route_handler.output

# A collection in a daemon would walk through, and thereby copy, all that was loaded here.
gc.collect()
gc.freeze()

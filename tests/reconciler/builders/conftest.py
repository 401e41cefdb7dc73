"""Builder `nix` with the nix of the machine and a store of its own (tests.support.nix_store)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.reconciler.builders.nix_host import NixHost, NixStore
from tests.support.nix_store import nix_program


@pytest.fixture
def nix_host(nix_store: NixStore, tmp_path: Path) -> NixHost:
    """Builder `nix` with nothing built."""
    return NixHost(tmp_path, nix_store)


@pytest_asyncio.fixture
async def daemon_host() -> AsyncIterator[NixHost]:
    """Builder `nix` where a nix daemon writes the store, in a directory that every uid may pass."""
    program = nix_program()
    if os.geteuid() != 0:
        pytest.skip("only root can evaluate as another user")
    with tempfile.TemporaryDirectory(prefix="hive-test-") as folder:
        top = Path(folder)
        top.chmod(0o755)
        store = NixStore.make(program, top / "nix")
        beside = program.with_name("nix-daemon")
        environment = {"PATH": os.environ["PATH"], "HOME": str(store.top / "home"), **store.environment}
        daemon = subprocess.Popen([beside], env=environment, stderr=subprocess.DEVNULL)
        try:
            async with asyncio.timeout(10):
                while not (store.top / "var" / "daemon-socket" / "socket").is_socket():
                    await asyncio.sleep(0.005)  # a socket's birth has no event; bounded by the timeout
            yield NixHost(top, store)
        finally:
            daemon.kill()
            daemon.wait(10)
            store.remove()

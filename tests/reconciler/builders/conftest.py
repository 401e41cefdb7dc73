"""The nix of the machine with a store of its own, once for all tests of a process."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from meta import sandbox
from tests.reconciler.builders.nix_host import NixHost, NixStore


@pytest.fixture(scope="session")
def nix_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NixStore]:
    """HIVE_TEST_NIX names another nix than the one on PATH (see tests/nix/get-nix.sh)."""
    program = _program()
    if sandbox.available() is None:
        pytest.skip("bubblewrap is not installed (apt-get install bubblewrap)")
    store = NixStore.make(Path(program), tmp_path_factory.mktemp("nix"))
    yield store
    store.remove()


@pytest.fixture
def nix_host(nix_store: NixStore, tmp_path: Path) -> NixHost:
    """Builder `nix` with nothing built."""
    return NixHost(tmp_path, nix_store)


@pytest_asyncio.fixture
async def daemon_host() -> AsyncIterator[NixHost]:
    """Builder `nix` where a nix daemon writes the store, in a directory that every uid may pass."""
    program = _program()
    if os.geteuid() != 0:
        pytest.skip("only root can evaluate as another user")
    with tempfile.TemporaryDirectory(prefix="hive-test-") as folder:
        top = Path(folder)
        top.chmod(0o755)
        store = NixStore.make(Path(program), top / "nix")
        beside = Path(program).with_name("nix-daemon")
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


def _program() -> str:
    program = shutil.which(os.environ.get("HIVE_TEST_NIX", "nix"))
    if program is None:
        pytest.skip("nix is not installed (apt-get install nix-bin)")
    return program

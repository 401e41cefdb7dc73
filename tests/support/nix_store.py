"""Plugin (see tests/conftest.py): the nix of the machine with a store of its own, one for all tests of a process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.reconciler.builders.nix_host import NixStore


def nix_program() -> Path:
    """Return the nix to test with. HIVE_TEST_NIX names another than the one on PATH (see tests/nix/get-nix.sh)."""
    from meta.process import sandbox

    program = shutil.which(os.environ.get("HIVE_TEST_NIX", "nix"))
    if program is None:
        pytest.skip("nix is not installed (apt-get install nix-bin)")
    if sandbox.available() is None:
        pytest.skip("bubblewrap is not installed (apt-get install bubblewrap)")
    return Path(program)


@pytest.fixture(scope="session")
def nix_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NixStore]:
    """Yield an empty store that is written directly. Remove it afterwards."""
    from tests.reconciler.builders.nix_host import NixStore  # a second of imports that most tests do not need

    store = NixStore.make(nix_program(), tmp_path_factory.mktemp("nix"))
    yield store
    store.remove()

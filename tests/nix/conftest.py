"""One nix per session; every test here needs it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.nix.evaluate import HERE, Evaluator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies here."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.nix)


@pytest.fixture(scope="session")
def nix(tmp_path_factory: pytest.TempPathFactory) -> Evaluator:
    """A nix with a store of its own."""
    if shutil.which("nix-instantiate") is None:
        pytest.skip("nix is not installed")
    folder = tmp_path_factory.mktemp("nix")
    (folder / "home").mkdir()
    return Evaluator(folder)


@pytest.fixture(scope="session")
def stub() -> Path:
    """The stand-in for nixpkgs."""
    return HERE / "stub-nixpkgs"

"""A hive that was made once per run, and copies of it to break."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from meta.config import Config
from meta.layout import Layout
from reconciler.upkeep.doctor.checks.base import Subject
from tests.reconciler.upkeep.doctor.looks import whole_host
from tests.support.lab import discard, fresh_lab


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state of a hive in which alice was deployed once; no daemon runs."""
    keep = tmp_path_factory.mktemp("doctor") / "s"
    with fresh_lab("dr", backend="fake") as lab:
        lab.spawn("alice")
        assert lab.deploy('label = "one"\n')["state"] == "deployed"
        lab.stop()
        shutil.copytree(lab.layout.state, keep, symlinks=True)
        keep.chmod(0o711)
        for path in keep.glob("agents/*/*"):
            path.chmod(0o700)  # as the real backends make them
    yield keep
    discard(keep)


@pytest.fixture
def subject(made: Path, tmp_path: Path) -> Iterator[Subject]:
    """A copy of that hive, on a whole host."""
    state = tmp_path / "s"
    shutil.copytree(made, state, symlinks=True)
    yield Subject(Layout(state, tmp_path / "r"), Config(), host=whole_host())
    discard(tmp_path)


@pytest.fixture
def bare(made: Path, tmp_path: Path) -> Subject:
    """That hive itself, for checks of the host: they touch nothing of it."""
    return Subject(Layout(made, tmp_path / "r"), Config(), host=whole_host())

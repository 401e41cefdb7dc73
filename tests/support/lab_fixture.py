"""The fixture `lab`: a hive with a real daemon, as the marker `lab` of a test or its module describes it.

    pytestmark = pytest.mark.lab(agents=("alice", "bob"), settings={"HIVE_RESYNC": "60"}, backend="fake")

`agents` are spawned, then `prepare` is called with the hive. With `fresh=True` each test gets a new hive; otherwise the
tests of a module share one. Other keywords are those of `Lab`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any

import pytest

from tests.support.lab import Lab, fresh_lab

_NUMBERS = count()
"""The numbers of the hives of this process. Each has a directory of its own, with a short name."""


@contextmanager
def _hive(
    agents: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
    prepare: Callable[[Lab], None] | None = None,
    **kind: Any,
) -> Iterator[Lab]:
    with fresh_lab(f"l{next(_NUMBERS)}", dict(settings or {}), **kind) as lab:
        lab.spawn(*agents)
        if prepare is not None:
            prepare(lab)
        yield lab


class _Shared:
    """The hive that the tests of one module share. It is made for the first of them."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._lab: Lab | None = None
        self._wanted: dict[str, Any] = {}

    def get(self, wanted: dict[str, Any]) -> Lab:
        if self._lab is None:
            self._lab, self._wanted = self._stack.enter_context(_hive(**wanted)), wanted
        assert wanted == self._wanted, "the tests of a module share one hive: give the other one fresh=True"
        return self._lab

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(scope="module")
def _shared_lab() -> Iterator[_Shared]:
    shared = _Shared()
    yield shared
    shared.close()


@pytest.fixture
def lab(request: pytest.FixtureRequest, _shared_lab: _Shared) -> Iterator[Lab]:
    """Yield the hive that the test's marker `lab` describes. Its manager and its agents run."""
    marker = request.node.get_closest_marker("lab")
    assert marker is not None, "a test that takes `lab` says which hive it wants: @pytest.mark.lab(...)"
    wanted = dict(marker.kwargs)
    if wanted.pop("fresh", False):
        with _hive(**wanted) as own:
            yield own
        return
    yield _shared_lab.get(wanted)

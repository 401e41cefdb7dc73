"""Backend `nixos` with builder `nix`: the daemon killed in the middle of what it does, and many agents at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import pytest

from tests.support.systemd import host, nixhost
from tests.support.systemd.host import SystemdHost
from tests.support.systemd.lifetime import booted
from tests.systemd import nixstory, secretstory, swarm

pytestmark = [pytest.mark.systemd, pytest.mark.nix]


@contextmanager
def nix_host(
    settings: Mapping[str, str | float], network: Mapping[str, object] = MappingProxyType({})
) -> Iterator[SystemdHost]:
    """A booted host with nix, hive's units, and these services.hive.settings and .network."""
    why, programs = host.missing() or nixhost.missing(), nixhost.programs()
    if why is not None or programs is None:
        pytest.skip(why or "")
    with booted(lambda folder: SystemdHost(folder, nixhost.Nix(programs, settings, network))) as made:
        yield made


def told(made: SystemdHost, module: str, *words: str, seconds: float) -> str:
    """What a module printed inside, which must have gone well."""
    done = made.run([sys.executable, "-m", module, *words], seconds=seconds)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.full
@pytest.mark.timeout(240)
def test_a_kill_where_this_backend_differs_ends_as_if_it_had_not_been() -> None:
    with nix_host(nixstory.SETTINGS) as made:
        lines = told(made, "tests.systemd.matrix", "few", seconds=200).splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == ["deployed"] * 2


@pytest.mark.full
@pytest.mark.timeout(1500)
def test_a_kill_anywhere_ends_in_one_story_also_a_second_one() -> None:
    with nix_host(nixstory.SETTINGS) as made:
        said = told(made, "tests.systemd.matrix", "all", seconds=1400)
    assert "WRONG" not in said


@pytest.mark.full
@pytest.mark.timeout(240)
def test_secrets_of_agents_and_of_hive_reach_them_through_the_modules_units_and_nobody_else() -> None:
    with nix_host(secretstory.SETTINGS) as made:
        said = told(made, "tests.systemd.secretstory", seconds=200)
    assert "rotation 3" in said


@pytest.mark.full
@pytest.mark.timeout(500)
def test_twenty_agents_at_once() -> None:
    with nix_host({**nixstory.SETTINGS, **swarm.SETTINGS}) as made:
        assert "all destroyed and purged" in told(made, "tests.systemd.swarm", seconds=450)

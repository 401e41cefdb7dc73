"""What `hive doctor` says about the credentials of agents."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from meta.layout import Layout
from reconciler.privileged.conf import Conf, Places, render
from reconciler.privileged.credentials import NEEDED
from reconciler.privileged.values import Settings
from reconciler.upkeep.doctor.checks.base import Subject, Verdict
from tests.reconciler.privileged.stage import HASH
from tests.reconciler.upkeep.doctor.looks import ALICE, look, only

SECRET = "hunter2-of-alice"


class Place:
    """A host with alice, who needs `token` and is given it."""

    def __init__(self, root: Path) -> None:
        self.store, self.list, self.token = root / "store", root / "credentials.json", root / "run" / "token"
        self.system = self.store / f"{HASH}-one"
        for folder in (
            (self.system / NEEDED).parent,
            root / "containers",
            root / "run",
            root / "s/backend/nixos/alice",
        ):
            folder.mkdir(parents=True)
        self.token.write_text(SECRET)
        self.token.chmod(0o400)
        self.need("token")
        self.give({"alice": {"token": str(self.token)}})
        text = render(ALICE, Conf("h1", Settings("agent", 524_288), str(self.system)), Places("/state", "/run/hive"))
        (root / "containers" / "alice.conf").write_text(text)

    def need(self, *ids: str) -> None:
        (self.system / NEEDED).write_text(json.dumps(ids))

    def give(self, agents: object) -> None:
        self.list.write_text(json.dumps({"version": 1, "agents": agents}))
        self.list.chmod(0o644)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def nixos(bare: Subject, place: Place, tmp_path: Path) -> Subject:
    layout = Layout(tmp_path / "s", tmp_path / "r")
    host = replace(bare.host, credentials=place.list, containers=tmp_path / "containers", root=os.geteuid())
    return Subject(layout, bare.config, backend="nixos", host=host)


async def test_an_agent_that_has_what_it_needs_is_well(nixos: Subject) -> None:
    await only(nixos, "credentials", Verdict.OK, "1 have what they need")


async def test_backend_local_has_no_such_list(bare: Subject) -> None:
    await only(bare, "credentials", Verdict.OK, "in their homes")


@pytest.mark.parametrize(
    ("change", "verdict", "text", "remedy"),
    [
        (lambda place: place.token.unlink(), Verdict.FAIL, "is missing", "sops-nix"),
        (lambda place: place.token.chmod(0o404), Verdict.FAIL, "open to others", "0400"),
        (
            lambda place: place.give({}),
            Verdict.FAIL,
            "needs the credential token",
            "services.hive.credentials.alice.token",
        ),
        (lambda place: place.need(), Verdict.WARN, "does not ask for it", "hive.agent.credentials"),
        (lambda place: place.list.write_text("{"), Verdict.FAIL, "the list of credentials is wrong", "NixOS"),
        (
            lambda place: (place.system / NEEDED).write_text("{"),
            Verdict.FAIL,
            "of the agent's system is wrong",
            "leave",
        ),
    ],
)
async def test_what_would_keep_the_agent_from_starting_is_told_with_the_remedy(
    nixos: Subject, place: Place, change: Callable[[Place], object], verdict: Verdict, text: str, remedy: str
) -> None:
    change(place)
    row = await only(nixos, "credentials", verdict, text)
    assert remedy in row.remedy
    assert SECRET not in repr(row)


async def test_credentials_of_an_agent_that_does_not_exist_are_told(nixos: Subject, place: Place) -> None:
    place.give({"alice": {"token": str(place.token)}, "bob": {"x": "/run/x"}})
    await only(nixos, "credentials", Verdict.WARN, "for bob, and there is no such agent")


async def test_what_this_user_may_not_look_at_is_no_failure(
    nixos: Subject, monkeypatch: pytest.MonkeyPatch, place: Place
) -> None:
    real = Path.lstat

    def lstat(path: Path) -> os.stat_result:
        if path == place.token:
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(Path, "lstat", lstat)
    rows = await look(nixos, "credentials")
    assert [(row.verdict, row.remedy) for row in rows] == [(Verdict.WARN, "run `hive doctor` as root")]

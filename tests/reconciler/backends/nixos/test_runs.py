"""What reaches the disk when a container's unit changes: run.json and exit.json."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from meta.names import AgentName, GenerationId
from meta.process.identity import boot_id
from reconciler.backends.nixos.abilities import abilities
from reconciler.backends.nixos.records import NixosRecords, Where
from reconciler.backends.nixos.runs import Runs
from reconciler.backends.nixos.units import UnitView
from reconciler.plan.observed import Launch

ALICE = AgentName("alice")
FIRST, SECOND = "aa" * 16, "bb" * 16
LAUNCH = Launch(GenerationId("1" * 20), "f", "n1", at=900.0)
UP = UnitView(active="active", invocation=FIRST, pid=42, started=900.0)
FAILED = UnitView(active="failed", result="exit-code", invocation=FIRST, code=1, status=7, started=900.0, ended=950.0)


@pytest.fixture
def records(tmp_path: Path) -> NixosRecords:
    return NixosRecords(ALICE, tmp_path, Where(etc=tmp_path / "etc", profiles=tmp_path / "profiles"), tmp_path)


def test_the_first_sight_of_a_run_notes_its_invocation(records: NixosRecords) -> None:
    runs = Runs()
    runs.record(records, LAUNCH, before="")
    runs.settle(records, UP)
    run = records.run.get()
    assert run is not None
    assert (run.invocation, run.nonce, run.boot) == (FIRST, "n1", boot_id())
    assert runs.exit(records) is None


def test_an_end_is_kept_for_the_next_daemon(records: NixosRecords) -> None:
    runs = Runs()
    runs.record(records, LAUNCH, before="")
    runs.settle(records, UP)
    runs.settle(records, FAILED)
    kept = Runs().exit(records)
    assert kept is not None
    assert (kept.nonce, kept.code, kept.at) == ("n1", 7, 950.0)


def test_nothing_known_of_the_unit_is_no_end(records: NixosRecords) -> None:
    runs = Runs()
    runs.record(records, LAUNCH, before="")
    runs.settle(records, None)
    assert runs.exit(records) is None


def test_nothing_ends_while_a_start_is_under_way(records: NixosRecords) -> None:
    runs = Runs()
    with runs.starting(records):
        runs.record(records, LAUNCH, before="")
        runs.settle(records, UnitView(invocation=FIRST))  # what systemd shows before the unit is activating
        runs.settle(records, UP)
        runs.settle(records, FAILED)
        assert runs.exit(records) is None
        assert runs.failed_in_start(ALICE)
        runs.retry(ALICE)
        runs.settle(records, replace(UP, invocation=SECOND))
    runs.settle(records, replace(UP, invocation=SECOND))
    assert runs.exit(records) is None
    run = records.run.get()
    assert run is not None
    assert run.invocation == SECOND


def test_a_run_that_failed_in_its_start_has_its_code_even_if_systemd_forgot_it(records: NixosRecords) -> None:
    runs = Runs()
    with runs.starting(records):
        runs.record(records, LAUNCH, before="")
        runs.settle(records, UP)
        runs.settle(records, replace(FAILED, status=3))
    runs.settle(records, UnitView())
    ended = runs.exit(records)
    assert ended is not None
    assert (ended.code, ended.lost) == (3, False)


def test_a_start_that_never_was_leaves_the_former_run(records: NixosRecords) -> None:
    runs = Runs()
    runs.record(records, LAUNCH, before="")
    former = records.run.get()
    runs.record(records, replace(LAUNCH, nonce="n2"), before=FIRST)
    runs.take_back(records, former)
    assert records.run.get() == former
    runs.take_back(records, None)
    assert records.run.get() is None


def test_an_end_that_cannot_be_written_is_remembered(records: NixosRecords) -> None:
    runs = Runs()
    runs.record(records, LAUNCH, before="")
    runs.settle(records, UP)
    (records.folder / "exit.json").mkdir()  # as good as a full disk
    runs.settle(records, FAILED)
    ended = runs.exit(records)
    assert ended is not None
    assert ended.code == 7


def test_the_limits_that_a_host_enforces_are_said(tmp_path: Path) -> None:
    nothing = abilities(ready=True, root=tmp_path)
    assert nothing.limits.startswith("not enforced")
    assert any(note.startswith("limits not enforced") for note in nothing.notes)
    for name in ("memory", "pids", "cpu"):
        (tmp_path / name).mkdir()
    assert "version 1" in abilities(ready=True, root=tmp_path).limits
    (tmp_path / "cgroup.controllers").write_text("cpu io memory pids\n")
    said = abilities(ready=False, root=tmp_path)
    assert "version 2" in said.limits
    assert json.dumps(said.notes).count("bus is not connected") == 1
    assert "not enforced" not in said.limits

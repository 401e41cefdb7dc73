"""The verbs against stand-ins that record: the exact commands, idempotence, and what is refused without a trace."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from meta.errors import NotFound, PermanentError, Refused
from meta.names import MANAGER, AgentName
from reconciler.privileged import conf
from reconciler.privileged.command import DeadlinePassed, Ended, run
from reconciler.privileged.protocol import (
    Create,
    Destroy,
    Logs,
    Request,
    SetSystem,
    Start,
    Stop,
    WriteSettings,
)
from reconciler.privileged.values import Limits, Settings
from reconciler.privileged.verbs import Verbs
from tests.reconciler.privileged.stage import ALICE, DEADLINES, UID, Stage

SETTINGS = Settings("agent", UID, Limits(512, 100, None))

ASKED = "systemctl show --property=NeedDaemonReload --value container@alice.service"


def created(stage: Stage) -> None:
    """alice is there, with everything that a start needs."""
    stage.directories()
    stage.verbs.perform(Create(ALICE, UID, stage.system))
    stage.forget()


def written(stage: Stage) -> conf.Written:
    """The conf, read back."""
    return conf.read_back(stage.conf().read_text(), stage.host.bounds)


def test_create_makes_a_container_with_the_marker(stage: Stage) -> None:
    stage.verbs.perform(Create(ALICE, UID, stage.system))
    assert stage.calls() == [
        f"nixos-container create alice --system-path {stage.system}",
        f"nix-env -p {stage.root}/profiles/alice/system --set {stage.system}",
    ]
    found = written(stage)
    assert (found.owner, found.system) == ("h1", stage.system)
    assert found.settings == Settings("agent", UID)
    assert not list((stage.root / "records").iterdir())
    stage.forget()
    stage.verbs.perform(Create(ALICE, UID, stage.system))
    assert stage.calls() == []


def test_each_command_has_a_working_directory_of_its_own_that_is_gone_afterwards(stage: Stage) -> None:
    stage.verbs.perform(Create(ALICE, UID, stage.system))
    folders = (stage.root / "folders").read_text().splitlines()
    assert len(set(folders)) == 2
    assert not any(Path(folder).exists() for folder in folders)


def test_a_create_that_was_cut_off_is_finished(stage: Stage) -> None:
    stage.flag("create-fails")
    with pytest.raises(PermanentError, match="disk full"):
        stage.verbs.perform(Create(ALICE, UID, stage.system))
    assert written(stage).owner is None
    with pytest.raises(NotFound):
        stage.verbs.perform(Start(ALICE))
    stage.verbs.perform(Stop(ALICE, 0))
    stage.verbs.perform(Create(ALICE, UID, stage.system))
    assert written(stage).owner == "h1"
    assert len(stage.calls("nixos-container")) == 1


@pytest.mark.parametrize("made", ["with a profile", "with a path"])
def test_a_container_that_somebody_made_after_a_create_was_cut_off_is_not_touched(stage: Stage, made: str) -> None:
    stage.host.creating(ALICE).write_text(f"{stage.system}\n")
    path = "SYSTEM_PATH=/nix/store/other\n" if made == "with a path" else ""
    stage.conf().write_text(f"PRIVATE_NETWORK=1\n{path}")
    if made == "with a profile":
        stage.host.profile(ALICE).parent.mkdir(parents=True, exist_ok=True)
        stage.host.profile(ALICE).symlink_to("/nix/store/other")
    with pytest.raises(Refused):
        stage.verbs.perform(Destroy(ALICE))
    assert stage.calls() == []


@pytest.mark.parametrize("text", ["PRIVATE_NETWORK=1\n", "# hive h2\nPRIVATE_NETWORK=1\n", ""])
def test_a_container_without_the_marker_is_never_touched(stage: Stage, text: str) -> None:
    stage.directories()
    stage.conf().write_text(text)
    before = stage.snapshot()
    requests: list[Request] = [
        Create(ALICE, UID, stage.system),
        SetSystem(ALICE, stage.system),
        WriteSettings(ALICE, SETTINGS),
        Start(ALICE),
        Stop(ALICE, 1),
        Destroy(ALICE),
        Logs(ALICE, 10, None),
    ]
    for request in requests:
        with pytest.raises(Refused, match="not this hive's"):
            stage.verbs.perform(request)
    assert stage.snapshot() == before


def test_a_declarative_container_is_never_touched(stage: Stage) -> None:
    marked = stage.root / "static.conf"
    marked.write_text("# hive h1\n")
    stage.conf().symlink_to(marked)
    for request in (Create(ALICE, UID, stage.system), Destroy(ALICE), WriteSettings(ALICE, SETTINGS)):
        with pytest.raises(Refused, match="not a file of hive"):
            stage.verbs.perform(request)
    assert stage.conf().is_symlink()
    assert marked.read_text() == "# hive h1\n"


@pytest.mark.parametrize(
    "request_", [SetSystem(ALICE, ""), WriteSettings(ALICE, SETTINGS), Start(ALICE), Logs(ALICE, 1, None)]
)
def test_what_needs_a_container_says_that_there_is_none(stage: Stage, request_: Request) -> None:
    if isinstance(request_, SetSystem):
        request_ = replace(request_, system=stage.system)
    with pytest.raises(NotFound):
        stage.verbs.perform(request_)
    assert stage.calls() == []


def test_set_system_sets_the_profile_and_what_boots(stage: Stage) -> None:
    created(stage)
    stage.verbs.perform(WriteSettings(ALICE, SETTINGS))
    stage.forget()
    two = stage.root / "store" / Path(stage.system).name.replace("one", "two")
    two.mkdir()
    (two / "init").touch()
    for _ in range(2):
        stage.verbs.perform(SetSystem(ALICE, str(two)))
        assert (written(stage).system, written(stage).fingerprint) == (str(two), SETTINGS.fingerprint())
        assert (stage.root / "profiles/alice/system").readlink() == two
    assert set(stage.calls()) == {f"nix-env -p {stage.root}/profiles/alice/system --set {two}"}


def test_a_failed_set_leaves_what_boots(stage: Stage) -> None:
    created(stage)
    stage.flag("set-fails")
    with pytest.raises(PermanentError, match="no space"):
        stage.verbs.perform(SetSystem(ALICE, stage.build("two")))
    assert written(stage).system == stage.system


@pytest.mark.parametrize("attack", ["missing", "file", "no-init", "link-out", "link-in", "foreign"])
def test_only_a_system_in_the_store_is_set(stage: Stage, attack: str) -> None:
    created(stage)
    path = Path(stage.system.replace("-one", f"-{attack}"))
    match attack:
        case "file":
            path.touch()
        case "no-init":
            path.mkdir()
        case "link-out":
            outside = stage.root / "outside" / path.name
            outside.mkdir(parents=True)
            (outside / "init").touch()
            path.symlink_to(outside)
        case "link-in":
            inner = Path(stage.system) / path.name
            inner.mkdir()
            (inner / "init").touch()
            path.symlink_to(inner)
        case "foreign":
            path.mkdir()
            (path / "init").touch()
            if os.getuid() != 0:
                pytest.skip("needs root to give a directory away")
            os.chown(path, 30_001, 30_001)
        case _:
            pass
    with pytest.raises(Refused, match="no system in the store"):
        stage.verbs.perform(SetSystem(ALICE, str(path)))
    assert stage.calls() == []
    assert written(stage).system == stage.system


def test_write_settings_writes_conf_and_limits_and_reloads(stage: Stage) -> None:
    created(stage)
    stage.verbs.perform(WriteSettings(ALICE, SETTINGS))
    assert written(stage).fingerprint == SETTINGS.fingerprint()
    assert written(stage).system == stage.system
    assert "MemoryMax=512M" in stage.limits().read_text()
    assert stage.calls() == [ASKED, "systemctl daemon-reload"]


def test_systemd_reads_its_units_again_only_when_it_has_to(stage: Stage) -> None:
    created(stage)
    stage.verbs.perform(WriteSettings(ALICE, SETTINGS))
    stage.forget()
    stage.verbs.perform(WriteSettings(ALICE, SETTINGS))
    assert stage.calls() == [ASKED]
    stage.forget()
    stage.flag("reload-needed")  # an earlier helper died between the file and the reload
    stage.verbs.perform(WriteSettings(ALICE, SETTINGS))
    assert stage.calls() == [ASKED, "systemctl daemon-reload"]


def test_settings_that_were_edited_are_mended(stage: Stage) -> None:
    created(stage)
    stage.conf().write_text(stage.conf().read_text() + 'EXTRA_NSPAWN_FLAGS="--bind=/"\n')
    assert written(stage).fingerprint is None
    with pytest.raises(Refused, match="edited"):
        stage.verbs.perform(Start(ALICE))
    stage.verbs.perform(WriteSettings(ALICE, SETTINGS))
    assert "--bind=/ " not in stage.conf().read_text()
    stage.verbs.perform(Start(ALICE))


@pytest.mark.parametrize(("name", "role"), [("alice", "manager"), ("manager", "agent")])
def test_only_the_manager_has_the_managers_binds(stage: Stage, name: str, role: str) -> None:
    agent = AgentName(name)
    stage.verbs.perform(Create(agent, UID, stage.system))
    with pytest.raises(Refused, match="role"):
        stage.verbs.perform(WriteSettings(agent, Settings(role, UID)))


def test_start_makes_sure_of_the_limits_first(stage: Stage) -> None:
    created(stage)
    stage.verbs.perform(Start(ALICE))
    assert stage.calls() == [
        "systemctl daemon-reload",
        "systemctl reset-failed container@alice.service",
        "systemctl start container@alice.service",
    ]
    stage.forget()
    stage.verbs.perform(Start(ALICE))
    assert "systemctl daemon-reload" not in stage.calls()


def test_start_heals_a_machine_that_a_killed_nspawn_left(stage: Stage) -> None:
    created(stage)
    stage.flag("stale")
    stage.verbs.perform(Start(ALICE))
    assert stage.calls()[1:] == [
        "systemctl reset-failed container@alice.service",
        "systemctl start container@alice.service",
        "machinectl show --property=Leader alice",
        "machinectl terminate alice",
        "machinectl show --property=Leader alice",
        "systemctl reset-failed container@alice.service",
        "systemctl start container@alice.service",
    ]


def test_healing_has_an_end(stage: Stage) -> None:
    created(stage)
    stage.flag("stale")
    stage.flag("immortal")
    with pytest.raises(PermanentError, match="start of alice failed with code 1: Job failed"):
        stage.verbs.perform(Start(ALICE))
    assert len([call for call in stage.calls() if call.startswith("systemctl start")]) == 3


def test_a_start_that_fails_is_tried_once_more_since_a_stale_machine_may_just_have_gone(stage: Stage) -> None:
    created(stage)
    stage.flag("start-fails")
    with pytest.raises(PermanentError):
        stage.verbs.perform(Start(ALICE))
    assert len([call for call in stage.calls() if call.startswith("systemctl start")]) == 2


@pytest.mark.parametrize("part", ["state/agents/alice/state", "state/agents/alice", "runtime/agents/alice"])
def test_start_binds_no_symlink(stage: Stage, part: str) -> None:
    created(stage)
    (stage.root / part).rename(stage.root / "moved")
    (stage.root / part).symlink_to(stage.root / "moved")
    with pytest.raises(Refused, match="no directory"):
        stage.verbs.perform(Start(ALICE))
    assert stage.calls() == []


def test_the_manager_starts_with_its_views(stage: Stage) -> None:
    stage.verbs.perform(Create(MANAGER, UID, stage.system))
    stage.verbs.perform(WriteSettings(MANAGER, Settings("manager", UID)))
    own = ("state/agents/manager/state", "state/agents/manager/home", "runtime/manager")
    stage.directories(*own, "state/proposed", "state/applied")
    with pytest.raises(Refused, match="meta is not there"):
        stage.verbs.perform(Start(MANAGER))
    stage.directories("state/meta")
    stage.verbs.perform(Start(MANAGER))


def test_stop_waits_and_does_not_kill(stage: Stage) -> None:
    created(stage)
    stage.verbs.perform(Stop(ALICE, 5))
    assert stage.calls() == [
        "systemctl stop --no-block container@alice.service",
        "systemctl stop container@alice.service",
    ]


def test_stop_kills_what_outlives_its_grace(stage: Stage) -> None:
    created(stage)
    stage.flag("hangs")
    stage.verbs.perform(Stop(ALICE, 0.1))
    assert stage.calls()[-2:] == [
        "systemctl kill --signal=KILL container@alice.service",
        "systemctl stop container@alice.service",
    ]


def test_stop_of_nothing_is_done(stage: Stage) -> None:
    stage.verbs.perform(Stop(ALICE, 5))
    assert stage.calls() == []


def test_destroy_stops_and_leaves_only_the_agents_directories(stage: Stage) -> None:
    created(stage)
    stage.verbs.perform(WriteSettings(ALICE, SETTINGS))
    stage.forget()
    for _ in range(2):
        stage.verbs.perform(Destroy(ALICE))
        assert not stage.conf().exists()
        assert not stage.limits().parent.exists()
    assert stage.calls()[-2:] == ["nixos-container destroy alice", "systemctl daemon-reload"]
    assert (stage.root / "state/agents/alice/home").is_dir()


def test_a_destroy_that_failed_can_be_repeated(stage: Stage) -> None:
    created(stage)
    stage.flag("destroy-fails")
    with pytest.raises(PermanentError, match="busy"):
        stage.verbs.perform(Destroy(ALICE))
    assert written(stage).owner == "h1"
    (stage.root / "destroy-fails").unlink()
    stage.verbs.perform(Destroy(ALICE))
    assert not stage.conf().exists()


def journal(*messages: object) -> str:
    """What journalctl prints."""
    return "".join(json.dumps({"__CURSOR": f"s=c{i}", "MESSAGE": m}) + "\n" for i, m in enumerate(messages))


def test_logs_give_lines_and_where_to_go_on(stage: Stage) -> None:
    created(stage)
    stage.flag("journal", journal("one", [116, 119, 111, 255], None) + "no json\n")
    found = stage.verbs.perform(Logs(ALICE, 50, "s=before"))
    assert found == {"lines": ["one", "two\ufffd", "(a line too long to show)"], "cursor": "s=c2"}
    assert stage.calls() == [
        "journalctl --sync",
        "journalctl --no-pager --quiet --output=json --output-fields=MESSAGE --lines=50 "
        "--unit=container@alice.service --after-cursor=s=before",
    ]


def test_an_empty_log_keeps_the_cursor(stage: Stage) -> None:
    created(stage)
    assert stage.verbs.perform(Logs(ALICE, 5, "s=before")) == {"lines": [], "cursor": "s=before"}


def test_logs_are_bounded_and_keep_the_newest(stage: Stage) -> None:
    created(stage)
    stage.flag("journal", journal(*("\x01" * 4000 for _ in range(99)), "newest"))
    lines = stage.verbs.perform(Logs(ALICE, 1000, None))["lines"]
    assert isinstance(lines, list)
    assert lines[-1] == "newest"
    assert 5 < len(lines) < 20


def test_a_command_that_hangs_is_ended(stage: Stage) -> None:
    created(stage)
    stage.flag("hangs")
    verbs = stage.make_verbs(replace(DEADLINES, kill=0.1))
    (stage.root / "bin/systemctl").write_text("#!/bin/sh\ncase $1$2 in kill* | *--no-block) exit 0;; esac\nsleep 30")
    with pytest.raises(DeadlinePassed):
        verbs.perform(Stop(ALICE, 0))


def test_a_program_that_is_missing_or_says_too_much_is_an_error() -> None:
    with pytest.raises(PermanentError, match="cannot be run"):
        run(["/nonexistent/program"], deadline=1)
    with pytest.raises(PermanentError, match="more than 1000 bytes"):
        run(
            ["/bin/sh", "-c", "while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done"],
            deadline=5,
            output_limit=1000,
        )


@pytest.mark.parametrize(("second", "together"), [("alice", False), ("bob", True)])
def test_requests_for_one_name_wait_for_each_other(stage: Stage, second: str, together: bool) -> None:
    bob = AgentName("bob")
    for name in (ALICE, bob):
        stage.verbs.perform(Create(name, UID, stage.system))
    meeting, met = threading.Barrier(2), []

    def meet(argv: Sequence[str], *, deadline: float, output_limit: int = 0) -> Ended:
        try:
            met.append(meeting.wait(5 if together else 0.1))
        except threading.BrokenBarrierError:
            meeting.reset()
        return Ended(0)

    verbs = Verbs(stage.host, run=meet)
    requests = [Stop(AgentName(name), 0) for name in ("alice", second)]
    threads = [threading.Thread(target=verbs.perform, args=(request,)) for request in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert bool(met) is together

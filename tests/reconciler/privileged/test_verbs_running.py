"""The verbs against stand-ins that record: start, stop, destroy, logs, and that nothing hangs."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from meta.errors import PermanentError, Refused
from meta.names import MANAGER, AgentName
from reconciler.privileged import conf
from reconciler.privileged.command import DeadlinePassed, Ended, run
from reconciler.privileged.protocol import (
    Create,
    Destroy,
    Logs,
    Start,
    Stop,
    WriteSettings,
)
from reconciler.privileged.values import Settings
from reconciler.privileged.verbs import Verbs
from tests.reconciler.privileged.containers import SETTINGS, created, written
from tests.reconciler.privileged.stage import ALICE, DEADLINES, UID, Stage


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


def test_start_writes_the_conf_that_an_older_hive_wrote_again(stage: Stage) -> None:
    created(stage)
    wanted = stage.conf().read_text()
    lines = [line for line in wanted.splitlines() if not line.startswith(("COPY_RESOLV_CONF", "# written"))]
    seal = f"# written {written(stage).fingerprint} {conf._digest(lines)}"
    stage.conf().write_text("\n".join([*lines[:2], seal, *lines[2:]]) + "\n")
    assert written(stage).fingerprint is not None
    stage.verbs.perform(Start(ALICE))
    assert stage.conf().read_text() == wanted


@pytest.mark.parametrize(
    "path", ["etc", "etc/machine-id", "root", "usr", "usr/bin", "var", "var/lib", "var/lib/private"]
)
def test_a_container_whose_root_would_lead_the_start_script_out_is_not_started(stage: Stage, path: str) -> None:
    created(stage)
    link = stage.host.roots / ALICE / path
    link.parent.mkdir(parents=True)
    link.symlink_to("/nowhere")
    stage.forget()
    with pytest.raises(Refused, match=f"alice/{path} is a symlink"):
        stage.verbs.perform(Start(ALICE))
    assert not [call for call in stage.calls() if " start " in call]
    link.unlink()
    stage.verbs.perform(Start(ALICE))


def test_the_links_that_every_nixos_has_in_its_root_are_in_nobodys_way(stage: Stage) -> None:
    created(stage)
    for path in ("etc/os-release", "var/run", "run/current-system"):
        link = stage.host.roots / ALICE / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to("/nowhere")
    stage.verbs.perform(Start(ALICE))


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
    with pytest.raises(Refused, match="not a directory"):
        stage.verbs.perform(Start(ALICE))
    assert stage.calls() == []


def test_the_manager_starts_with_its_views(stage: Stage) -> None:
    stage.verbs.perform(Create(MANAGER, UID, stage.system))
    stage.verbs.perform(WriteSettings(MANAGER, Settings("manager", UID)))
    own = (f"state/agents/manager/{name}" for name in ("state", "home", "pods"))
    stage.directories(*own, "runtime/manager", "runtime/egress/manager", "state/proposed", "state/applied")
    with pytest.raises(Refused, match="meta is missing"):
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


def test_logs_can_begin_at_a_time(stage: Stage) -> None:
    created(stage)
    stage.verbs.perform(Logs(ALICE, 5, None, 1_700_000_000))
    assert stage.calls()[-1].endswith("--unit=container@alice.service --since=@1700000000")


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

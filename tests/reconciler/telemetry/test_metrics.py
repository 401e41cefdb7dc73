"""What is counted, where it is counted, and that the page and the dashboard name exactly what there is."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from prometheus_client.parser import text_string_to_metric_families

from meta.errors import BadInput, BuildFailed, Conflict, TransientError
from meta.names import AgentName, ProposalId
from reconciler.attention.registry import KINDS
from reconciler.attention.row import Severity
from reconciler.loop.queue import Queue
from reconciler.messaging.broker import Broker, Quota
from reconciler.plan import steps
from reconciler.plan.phases import PHASES
from reconciler.plan.rollout import Rollout
from reconciler.store.database import Database
from reconciler.telemetry.metrics import Metrics, Snapshot, database_bytes, disk_bytes
from reconciler.usage.claim import ENDINGS
from reconciler.views import AgentStatus, Status
from tests.support.lab import Lab

ALICE, BOB = AgentName("alice"), AgentName("bob")
DOCS = Path(__file__).parents[3] / "docs"
WORDS = re.compile(r"\bhive_[a-z_]+\b")
pytestmark = pytest.mark.lab(agents=("alice",), backend="fake")


def values(text: bytes) -> dict[tuple[str, ...], float]:
    """Every sample: (name, label values in the order of their names) -> value."""
    return {
        (sample.name, *(sample.labels[key] for key in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def agent(name: AgentName, phase: str = "running", **changes: Any) -> AgentStatus:
    said: dict[str, Any] = {"role": "agent", "since": 1.7e9, "turn": "idle", "desired": "running", "pid": 7, **changes}
    rest = {"generation": None, "sha": None, "deployed": None, "in_flight": None, "pending": (), "crashes": 0}
    return AgentStatus(agent=name, phase=phase, **{**rest, "unread": 0, **said})


def snapshot(*agents: AgentStatus, unread: dict[str, int] | None = None, pending: tuple[float, ...] = ()) -> Snapshot:
    status = Status("r1", "fake", "plain", "/s", "/r", "2" * 40, "none", "none", "one", (), agents)
    return Snapshot(status, unread or {}, pending, (10, 100), 4096)


# gauges
def test_gauges_show_the_snapshot_and_forget_who_is_gone() -> None:
    metrics = Metrics()
    first = values(metrics.render(snapshot(agent(ALICE), agent(BOB, "failed", pid=None, turn=None, crashes=5)), 2))
    assert first["hive_agents", "running"] == 1
    assert first["hive_agents", "failed"] == 1
    assert first["hive_agents", "stopped"] == 0
    assert (first["hive_agent_running", "alice"], first["hive_agent_running", "bob"]) == (1, 0)
    assert (first["hive_agent_linked", "alice"], first["hive_agent_linked", "bob"]) == (1, 0)
    assert first["hive_agent_crashes", "bob"] == 5
    assert (first["hive_queue_depth",], first["hive_disk_free_bytes",], first["hive_database_bytes",]) == (2, 10, 4096)
    assert first["hive_build_info", "fake", "plain", "r1"] == 1
    second = values(metrics.render(snapshot(agent(ALICE), unread={"operator": 3}, pending=(0.0, 1e9)), 0))
    assert not [key for key in second if "bob" in key]
    assert (second["hive_inbox_messages", "operator"], second["hive_inbox_messages", "alice"]) == (3, 0)
    assert second["hive_proposals_pending",] == 2
    assert second["hive_proposals_oldest_seconds",] > 1e9


def test_what_is_wrong_is_a_number_that_is_0_where_nothing_is() -> None:
    metrics = Metrics()
    quiet = values(metrics.render(snapshot(agent(ALICE)), 0))
    global_ones = ("watching_failed", "agents_outdated", "rollout_failed", "database_set_aside")
    assert [quiet[f"hive_{word}",] for word in global_ones] == [0, 0, 0, 0]
    assert (quiet["hive_dead_letters", "alice"], quiet["hive_refused_tips", "alice"]) == (0, 0)
    whole = snapshot(agent(ALICE, built_with="r0"), agent(BOB))
    ended = Rollout("1", "ops", 0, "r1", waiting=(BOB,), failed=ALICE, reason="no")
    loud = replace(
        whole,
        status=replace(whole.status, rollout=ended),
        dead={"bob": 2},
        refused={ALICE: 3},
        watching=False,
        set_aside=1,
    )
    said = values(metrics.render(loud, 0))
    assert [said[f"hive_{word}",] for word in global_ones] == [1, 1, 1, 1]
    assert (said["hive_dead_letters", "bob"], said["hive_refused_tips", "alice"]) == (2, 3)
    over = replace(loud, status=replace(whole.status, rollout=replace(ended, failed=None)))
    assert values(metrics.render(over, 0))["hive_rollout_failed",] == 0


def test_what_cannot_be_read_is_left_out_and_said() -> None:
    metrics = Metrics()
    assert values(metrics.render(snapshot(agent(ALICE)), 0))["hive_snapshot_ok",] == 1
    blind = values(metrics.render(None, 3))
    assert (blind["hive_snapshot_ok",], blind["hive_queue_depth",]) == (0, 3)
    assert not [key for key in blind if "alice" in key]


def test_sizes_are_those_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"1234")
    (tmp_path / "db-wal").write_bytes(b"12")
    assert database_bytes(tmp_path / "db") == 6
    free, whole = disk_bytes(tmp_path)
    assert 0 < free <= whole
    assert disk_bytes(tmp_path / "gone") == (0, 0)


# what happens
def test_a_step_is_timed_and_its_failure_counted() -> None:
    metrics = Metrics()
    with metrics.step(ALICE, steps.Finish(ProposalId(1), "1" * 40, unproven=False)):  # type: ignore[arg-type]
        pass
    with pytest.raises(TransientError), metrics.step(ALICE, steps.Begin(ProposalId(2))):
        raise TransientError("disk full")
    with metrics.step(ALICE, steps.Fail(ProposalId(2), "no", touched=False)):
        pass
    seen = values(metrics.render(None, 0))
    assert seen["hive_step_seconds_count", "finish"] == 1
    assert seen["hive_step_seconds_count", "begin"] == 1
    assert seen["hive_step_errors_total", "begin"] == 1
    assert ("hive_step_errors_total", "finish") not in seen
    assert (seen["hive_deploys_total", "deployed"], seen["hive_deploys_total", "failed"]) == (1, 1)


def test_a_step_that_is_interrupted_is_no_error() -> None:
    metrics = Metrics()
    with pytest.raises(asyncio.CancelledError), metrics.step(ALICE, steps.Begin(ProposalId(2))):
        raise asyncio.CancelledError
    assert ("hive_step_errors_total", "begin") not in values(metrics.render(None, 0))


def test_a_purged_agent_leaves_no_series_behind() -> None:
    metrics = Metrics()
    for name in (ALICE, BOB):
        metrics.turn_killed(name)
        metrics.crashed(name)
    with metrics.step(ALICE, steps.Purge()):
        pass
    seen = values(metrics.render(None, 0))
    assert not [key for key in seen if "alice" in key]
    assert (seen["hive_turns_killed_total", "bob"], seen["hive_container_crashes_total", "bob"]) == (1, 1)
    metrics.crashed(ALICE)
    assert values(metrics.render(None, 0))["hive_container_crashes_total", "alice"] == 1


async def test_every_kind_of_error_is_counted_under_its_name() -> None:
    metrics = Metrics()
    errors = [TransientError("t"), BuildFailed("b"), BadInput("i"), Conflict("c"), ValueError("a mistake")]

    async def work(_: AgentName) -> NoReturn:
        raise errors.pop()

    queue = Queue(work, base=0.001, cap=0.001, on_error=lambda _, error: metrics.error(error))
    queue.add(ALICE)
    async with asyncio.timeout(5):
        while errors:
            await asyncio.sleep(0)
    await queue.close()
    seen = values(metrics.render(None, 0))
    for kind in ("transient", "build", "bad-input", "conflict", "internal"):
        assert seen["hive_reconcile_errors_total", kind] == 1


def test_a_sweep_is_timed_and_one_that_failed_counted() -> None:
    metrics = Metrics()
    with metrics.sweep():
        pass
    with pytest.raises(BadInput), metrics.sweep():
        raise BadInput("agents.json")
    seen = values(metrics.render(None, 0))
    assert (seen["hive_sweep_seconds_count",], seen["hive_sweep_errors_total",]) == (1, 1)
    assert seen["hive_last_sweep_timestamp_seconds",] > 1.7e9


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[tuple[Broker, Metrics]]:
    metrics = Metrics()
    async with await Database.open(tmp_path / "db") as database:
        made = Broker(database, lambda name: name == ALICE, quota=Quota(2, 2**20), counters=metrics.messages)
        yield made, metrics
        await made.close()


async def test_messages_are_counted_on_their_way(broker: tuple[Broker, Metrics]) -> None:
    made, metrics = broker
    for body in ("1", "2"):
        await made.send("operator", "alice", body)
    with pytest.raises(TransientError):
        await made.send("operator", "alice", "one too many")
    with pytest.raises(BadInput):
        await made.send("operator", "nobody", "hm")
    assert await made.recv("alice", 0) is not None
    await made.requeue_inflight("alice")
    for _ in range(2):
        await made.recv("alice", 0)
    assert await made.recv("alice", 0) is None
    await made.ack_turn("alice")
    seen = values(metrics.render(None, 0))
    counted = {word: seen[f"hive_messages_{word}_total",] for word in ("sent", "delivered", "requeued", "acked")}
    assert counted == {"sent": 2, "delivered": 3, "requeued": 1, "acked": 2}
    assert (seen["hive_messages_refused_total", "not-now"], seen["hive_messages_refused_total", "bad"]) == (1, 1)


# a real daemon
def scrape(lab: Lab) -> bytes:
    """/metrics over http.sock."""
    import socket

    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(lab.layout.http_socket))
        sock.sendall(b"GET /metrics HTTP/1.0\r\nHost: hive\r\n\r\n")
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 200 " in head, answer
    assert b"text/plain; version=0.0.4" in head
    return body


def test_a_deploy_moves_what_it_should(lab: Lab) -> None:
    before = values(scrape(lab))
    assert before["hive_deploys_total", "deployed"] == 2, "alice and the manager were spawned"
    assert lab.deploy('label = "one"\n')["state"] == "deployed"
    lab.post("/api/messages", to="alice", body="hello")
    after = values(scrape(lab))
    assert after["hive_deploys_total", "deployed"] == 3
    for step in ("begin", "candidate", "build", "stop", "switch", "start", "commit", "finish"):
        assert after["hive_step_seconds_count", step] > before.get(("hive_step_seconds_count", step), 0), step
    assert after["hive_reconciles_total",] > before["hive_reconciles_total",]
    assert after["hive_sweep_seconds_count",] > 0
    assert after["hive_agents", "running"] == 2
    assert after["hive_messages_sent_total",] == before["hive_messages_sent_total",] + 1
    assert after["hive_inbox_messages", "alice"] >= 1
    assert after["hive_snapshot_ok",] == 1


def test_every_label_is_a_word_of_hives_or_a_name(lab: Lab) -> None:
    names = {each.name for each in _all_steps(steps.Step)}
    allowed = {
        "agent": {"alice", "manager"},
        "inbox": {"alice", "manager", "operator"},
        "phase": set(PHASES),
        "step": names,
        "kind": {"transient", "build", "bad-input", "not-found", "conflict", "refused", "permanent", "internal"}
        | {kind.name for kind in KINDS},
        "severity": {each.value for each in Severity},
        "outcome": {"deployed", "sent", "failed", "held"},
        "reason": {"bad", "not-now"},
        "backend": {"fake"},
        "builder": {"plain"},
    }
    for family in text_string_to_metric_families(scrape(lab).decode()):
        for sample in family.samples:
            for label, value in sample.labels.items():
                assert label in ("le", "revision") or value in allowed[label], sample


def _all_steps(kind: type[steps.Step]) -> Iterator[type[steps.Step]]:
    for each in kind.__subclasses__():
        yield each
        yield from _all_steps(each)


def families() -> dict[str, str]:
    """What hive shows, as Prometheus names it: name -> type (process metrics of the library included)."""
    shown = text_string_to_metric_families(Metrics().render(snapshot(agent(ALICE)), 0).decode())
    return {f"{family.name}_total" if family.type == "counter" else family.name: family.type for family in shown}


# the page and the files
def test_every_metric_is_documented_with_its_type_and_nothing_else_is() -> None:
    page = (DOCS / "reference" / "metrics.md").read_text(encoding="utf-8")
    documented = dict(re.findall(r"^\| `(hive_[a-z_]+)(?:\{[a-z, ]*\})?` \| (\w+) \|", page, re.MULTILINE))
    shown = {name: kind for name, kind in families().items() if not name.startswith("hive_process_")}
    assert documented == shown


@pytest.mark.parametrize("file", ["grafana-dashboard.json", "alerts.yaml"])
def test_dashboard_and_alerts_name_only_metrics_that_there_are(file: str) -> None:
    text = (DOCS / "howto" / file).read_text(encoding="utf-8")
    known = set(families())
    known |= {
        f"{name}_{end}"
        for name, kind in families().items()
        if kind == "histogram"
        for end in ("bucket", "count", "sum")
    }
    named = set(WORDS.findall(text))
    assert named
    assert named <= known, named - known


@pytest.mark.parametrize("file", ["grafana-dashboard.json", "alerts.yaml"])
def test_dashboard_and_alerts_name_only_phases_and_endings_that_there_are(file: str) -> None:
    text = (DOCS / "howto" / file).read_text(encoding="utf-8").replace('\\"', '"')
    known = {"phase": set(PHASES), "ending": set(ENDINGS)}
    named = re.findall(r'\b(phase|ending)=~?"([^"]+)"', text)
    assert {label for label, _ in named} >= {"phase"}
    for label, values in named:
        assert set(values.split("|")) <= known[label], values


@pytest.mark.parametrize("file", ["grafana-dashboard.json", "alerts.yaml"])
@pytest.mark.parametrize("metric", ["hive_turns_total", "hive_turn_tokens_total", 'phase=~?"[a-z|-]*parked'])
def test_dashboard_and_alerts_watch_turns_tokens_and_agents_that_wait(file: str, metric: str) -> None:
    assert re.search(metric, (DOCS / "howto" / file).read_text(encoding="utf-8").replace('\\"', '"'))


def test_the_dashboard_is_json_with_panels_that_ask_for_something() -> None:
    board = json.loads((DOCS / "howto" / "grafana-dashboard.json").read_text(encoding="utf-8"))
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in panels:
        assert all(target["expr"] for target in panel["targets"]), panel["title"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24

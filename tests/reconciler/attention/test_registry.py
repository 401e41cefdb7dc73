"""The attention list as a pure function of the facts: what has a row, in which order, with which texts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha
from reconciler.attention.ages import Ages
from reconciler.attention.facts import Alarm, Alarms, Facts
from reconciler.attention.registry import DETAIL_LIMIT, KINDS, TITLE_LIMIT, FirstSeen, collect, count_kinds
from reconciler.attention.row import ROWS_MOST, Severity, listed
from reconciler.attention.sources import LONG_WAIT
from reconciler.plan.rollout import Rollout
from reconciler.store.database import Database
from reconciler.store.messages.text import DeadLetterHead
from reconciler.store.network_requests import NetworkRequest
from reconciler.store.passkeys import Passkey
from reconciler.store.questions import Question
from reconciler.store.usage import Overrun
from reconciler.views import AgentStatus, Card, RefusedTip

ALICE, BOB = AgentName("alice"), AgentName("bob")
NOW = 1_700_000_000.0
EVIL = "a\x1b[2J\nb\u200b sk-ant-abcdefgh " + "x" * 9000
"""A text of an agent: with escapes, a line feed, an invisible character, a token, and far too long."""


def agent(phase: str, **changes: Any) -> AgentStatus:
    known: dict[str, Any] = {"generation": None, "sha": None, "deployed": ProposalId(1), "in_flight": None, **changes}
    rest = {"turn": None, "desired": "running", "pending": (), "pid": None, "crashes": 5, "unread": 0}
    return AgentStatus(ALICE, "agent", phase, NOW - 60, **{**rest, **known})


def card(id: int, description: str = "adds jq", kind: DeployKind = DeployKind.APPLY_COMMIT) -> Card:
    return Card(ProposalId(id), ALICE, kind, "", None, int(NOW) - id, "pending", "proposal", description=description)


def question(id: int, text: str = "which branch?") -> Question:
    return Question(id, "alice", "operator", text, (), False, int(NOW) - id)


def failed_deploy(id: int, kind: DeployKind = DeployKind.APPLY_COMMIT) -> Deploy:
    commit = Sha("1" * 40)
    known = Deploy(
        ALICE, ProposalId(id), kind, TagState.FAILED, commit, None, commit, "work-tree", "", int(NOW) - 9, "alice"
    )
    return replace(known, resolved_at=int(NOW) - 5, by="hive", reason=EVIL)


TIP = RefusedTip(ALICE, f"proposed/push.git#{EVIL}", EVIL, "1" * 40, "bob", EVIL, EVIL)
ROLLOUT = Rollout("r1", "hive", int(NOW) - 5, "0.1", (BOB,), failed=ALICE, reason=EVIL)
CASES: dict[str, Facts] = {
    "disk-full": Facts(alarms=Alarms(disk=(Alarm("state", "the disk of /s is full"),))),
    "meta-unreadable": Facts(alarms=Alarms(meta=(Alarm("meta", EVIL),))),
    "no-descriptors": Facts(alarms=Alarms(descriptors=(Alarm("daemon", "accepting waits"),))),
    "daemon-task": Facts(alarms=Alarms(tasks=(Alarm("ticker", "background task ticker failed"),))),
    "database-set-aside": Facts(alarms=Alarms(set_aside=(Alarm("hive.db.corrupt-1", "it was damaged", NOW - 9),))),
    "meta-lock": Facts(alarms=Alarms(locks=(Alarm("meta", "/s/meta/.git/index.lock was left"),))),
    "no-manager": Facts(alarms=Alarms(no_manager=(Alarm("manager", "there is no manager"),))),
    "way-out": Facts(alarms=Alarms(way_out=(Alarm("way-out", "hive-egress does not answer"),))),
    "dashboard": Facts(alarms=Alarms(dashboard=(Alarm("listen", "port 8420 is in use"),))),
    "passkey-copied": Facts(copied=(Passkey("Ag3k", EVIL, None, EVIL, EVIL, b"", 7, int(NOW), refused_at=int(NOW)),)),
    "rollout-failed": Facts(rollout=ROLLOUT),
    "agent-failed": Facts(agents=(agent("failed", reason=EVIL, remedy="`hive restart alice`"),)),
    "deploy-failed": Facts(agents=(agent("running"),), failed=(failed_deploy(4),)),
    "agent-damaged": Facts(agents=(agent("damaged"),)),
    "agent-held": Facts(agents=(agent("disagrees"),)),
    "agent-over-disk": Facts(agents=(agent("over-disk"),)),
    "agent-stuck": Facts(agents=(agent("running", turn_since=NOW - 9, turn_limit=5.0),), now=NOW),
    "agent-error": Facts(errors={ALICE: EVIL}),
    "agent-no-program": Facts(agents=(agent("parked", runtime_problem=EVIL),)),
    "agent-needs-login": Facts(agents=(agent("needs-login"),)),
    "agent-model-refused": Facts(agents=(agent("parked", turn_person=True, turn_reason=EVIL),)),
    "agent-over-budget": Facts(over_budget={ALICE: Overrun(NOW - 60, NOW + 60, EVIL)}),
    "question": Facts(questions=(question(3, EVIL),)),
    "proposal": Facts(proposals=(card(7, EVIL),)),
    "network-request": Facts(requests=(NetworkRequest(3, "alice", "crates.io", 443, EVIL, 1, int(NOW), int(NOW)),)),
    "dead-letter": Facts(dead_letters=(DeadLetterHead(12, EVIL, "alice", int(NOW) - 7),)),
    "refused-push": Facts(refused=(TIP,)),
    "agent-parked": Facts(
        agents=(agent("parked", state_since=NOW, turn_until=NOW + LONG_WAIT, turn_reason=EVIL),),
    ),
    "stale-proposal": Facts(proposals=(card(7, EVIL),), stale={ALICE: frozenset({ProposalId(7)})}),
    "agent-condition": Facts(conditions={ALICE: (EVIL,)}),
    "watching": Facts(alarms=Alarms(watching=(Alarm("proposed", "the kernel has no watches left"),))),
    "messages": Facts(unread=(2, NOW - 3)),
}
"""Facts that make one row of each kind."""
COMMANDS = {
    "disk-full": "hive status",
    "meta-unreadable": "hive doctor",
    "no-descriptors": "hive status",
    "daemon-task": "hive status",
    "database-set-aside": "hive doctor",
    "meta-lock": "hive doctor",
    "no-manager": "hive status",
    "rollout-failed": "hive plan alice",
    "agent-failed": "hive logs alice",
    "deploy-failed": "hive diff 4",
    "agent-damaged": "hive doctor",
    "agent-held": "hive plan alice",
    "agent-over-disk": "hive plan alice",
    "agent-stuck": "hive plan alice",
    "agent-error": "hive plan alice",
    "agent-no-program": "hive plan alice",
    "agent-needs-login": "hive plan alice",
    "agent-model-refused": "hive plan alice",
    "agent-over-budget": "hive usage alice",
    "question": "hive questions 3",
    "proposal": "hive diff 7",
    "network-request": "hive network alice",
    "dead-letter": "hive dead-letters",
    "refused-push": "hive pending",
    "agent-parked": "hive plan alice",
    "stale-proposal": "hive diff 7",
    "agent-condition": "hive plan alice",
    "watching": "hive doctor",
    "way-out": "hive doctor",
    "dashboard": "hive doctor",
    "passkey-copied": "hive dashboard passkeys",
    "messages": "hive inbox",
}
READING = {
    "status",
    "doctor",
    "logs",
    "plan",
    "diff",
    "questions",
    "pending",
    "dead-letters",
    "inbox",
    "network",
    "usage",
}
"""The commands that change nothing."""


def rows(facts: Facts, seen: FirstSeen | None = None, now: float = NOW) -> Any:
    return collect(facts, seen or FirstSeen(), now)


@pytest.mark.parametrize("phase", ["parked", "running"])
def test_an_agent_whose_cli_is_missing_has_one_row_while_its_harness_looks_again_and_again(phase: str) -> None:
    row = agent(phase, runtime_problem="it is missing", state_since=NOW, turn_until=NOW + LONG_WAIT)
    rows = collect(Facts(agents=(row,)), FirstSeen(), NOW)
    assert [each.kind for each in rows] == ["agent-no-program"]
    assert collect(Facts(agents=(agent("stopped", runtime_problem="it is missing"),)), FirstSeen(), NOW) == ()


def test_an_agent_that_waits_for_a_person_has_one_row_at_once_however_soon_it_tries_again() -> None:
    for wait in (2, LONG_WAIT):
        row = agent("parked", turn_person=True, state_since=NOW, turn_until=NOW + wait)
        (only,) = collect(Facts(agents=(row,)), FirstSeen(), NOW)
        assert (only.kind, only.severity) == ("agent-model-refused", Severity.NORMAL)
    assert collect(Facts(agents=(agent("running", turn_person=True),)), FirstSeen(), NOW) == ()


def test_every_kind_has_a_case_and_a_name_of_its_own() -> None:
    assert list(CASES) == [kind.name for kind in KINDS]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_kind_makes_its_row_and_no_other(kind: Any) -> None:
    (row,) = rows(CASES[kind.name])
    assert (row.kind, row.severity, row.command) == (kind.name, kind.severity, COMMANDS[kind.name])
    assert row.key.startswith(f"{kind.name}:")
    assert row.link is None


@pytest.mark.parametrize("name", CASES)
def test_the_command_of_a_row_changes_nothing(name: str) -> None:
    (row,) = rows(CASES[name])
    _, verb, *arguments = row.command.split()
    assert verb in READING or (verb, *arguments) == ("dashboard", "passkeys")
    assert not [each for each in arguments if each.startswith("--") and each != "--agent"]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("dead-letter", "`hive dead-letters --revive 12` tries it again, `--discard 12` drops it"),
        ("rollout-failed", "`hive rebuild --all --stale` goes on"),
        ("stale-proposal", "`hive rebase 7` or `hive deny 7`"),
        ("agent-failed", "`hive restart alice`"),
        ("deploy-failed", "`hive retry 4` tries it again"),
        ("agent-stuck", "`hive restart alice --now` does that at once"),
    ],
)
def test_the_detail_ends_with_what_mends_it_also_if_its_text_is_cut(name: str, remedy: str) -> None:
    (row,) = rows(CASES[name])
    assert row.detail.endswith(remedy)


@pytest.mark.parametrize(("runtime", "remedy"), [("claude", "`hive login alice`"), ("gemini", "docs/howto/login.md")])
def test_a_model_that_refuses_a_key_names_a_login_that_the_runtime_has(runtime: str, remedy: str) -> None:
    row = agent("parked", state_since=NOW, turn_until=NOW + LONG_WAIT, turn_reason=EVIL, runtime=runtime)
    assert rows(Facts(agents=(row,)))[0].detail.endswith(remedy)


def test_a_detail_that_was_cut_has_a_mark() -> None:
    (row,) = rows(Facts(questions=(question(3, "y" * 301),)))
    assert row.detail == "y" * 299 + "…"
    (row,) = rows(Facts(questions=(question(3, "y" * 300),)))
    assert row.detail == "y" * 300
    (row,) = rows(Facts(agents=(agent("failed", reason="y" * 400, remedy="z" * 400),)))
    assert row.detail == "z" * 299 + "…"


@pytest.mark.parametrize("name", CASES)
def test_no_text_of_others_is_in_a_title_and_what_is_shown_of_it_is_clean_and_short(name: str) -> None:
    (row,) = rows(CASES[name])
    assert "xxx" not in row.title
    assert "[2J" not in row.title
    for text, limit in ((row.title, TITLE_LIMIT), (row.detail, DETAIL_LIMIT), (row.key, 500), (row.command, 500)):
        assert len(text) <= limit
        assert not {"\x1b", "\n", "\u200b"} & set(text)
        assert "sk-ant" not in text


def test_nothing_has_no_row() -> None:
    assert rows(Facts(agents=(agent("running"), agent("stopped")))) == ()


def test_severe_rows_are_first_then_old_ones() -> None:
    facts = Facts(proposals=(card(1), card(9)), unread=(1, 5.0), alarms=Alarms(disk=(Alarm("state", "full"),)))
    assert [row.key for row in rows(facts)] == [
        "disk-full:state",
        "proposal:alice:9",
        "proposal:alice:1",
        "messages:operator",
    ]


def test_the_keys_stay_while_ages_and_details_change() -> None:
    before = [row.key for row in rows(replace(CASES["messages"], unread=(1, 9.0)))]
    assert before == [row.key for row in rows(replace(CASES["messages"], unread=(5, 9.0)))]


def test_an_alarm_without_a_time_counts_from_when_it_was_first_seen_until_it_is_gone() -> None:
    seen, facts = FirstSeen(), CASES["disk-full"]
    assert [row.since for row in rows(facts, seen, NOW)] == [NOW]
    assert [row.since for row in rows(facts, seen, NOW + 50)] == [NOW]
    assert rows(Facts(), seen, NOW + 60) == ()
    assert [row.since for row in rows(facts, seen, NOW + 70)] == [NOW + 70]


def test_a_new_daemon_takes_over_the_ages_of_the_one_before() -> None:
    failed = Facts(agents=(agent("failed"),))  # since NOW - 60 for this daemon
    before = FirstSeen()
    assert [row.since for row in rows(failed, before)] == [NOW - 60]
    after = FirstSeen()
    after.restore({"agent-failed:alice": NOW - 999, "disk-full:state": NOW - 500}, NOW)
    assert [row.since for row in rows(failed, after)] == [NOW - 999]
    assert [row.since for row in rows(CASES["disk-full"], after, NOW + 5)] == [NOW - 500]
    assert rows(Facts(), after, NOW + 61) == ()
    assert [row.since for row in rows(failed, after, NOW + 70)] == [NOW - 60]
    assert set(after.times) == {"agent-failed:alice"}


async def test_the_ages_are_kept_in_the_database(db: Database) -> None:
    facts, ages = CASES["disk-full"], Ages(db)
    await ages.load(NOW)
    assert [row.since for row in rows(facts, ages.seen)] == [NOW]
    await ages.save()
    after = Ages(db)
    await after.load(NOW + 900)
    assert [row.since for row in rows(facts, after.seen, NOW + 900)] == [NOW]
    await db.write(lambda connection: connection.execute("UPDATE meta SET value = '{no'").rowcount)
    damaged = Ages(db)
    await damaged.load(NOW)
    assert damaged.seen.times == {}


def test_a_turn_within_its_limit_has_no_row() -> None:
    assert rows(Facts(agents=(agent("running", turn_since=NOW - 4, turn_limit=5.0),), now=NOW)) == ()


def test_the_words_of_a_proposal_are_the_first_line_of_its_description() -> None:
    (row,) = rows(Facts(proposals=(card(7, "port the importer\n\nHaiku lost the thread"),)))
    assert row.detail == "port the importer"


def test_the_first_spawn_of_an_agent_is_named_with_the_agent() -> None:
    (row,) = rows(Facts(proposals=(card(0, kind=DeployKind.SPAWN),)))
    assert (row.title, row.command) == ("the spawn of alice waits for your decision", "hive diff 0 --agent alice")
    (row,) = rows(Facts(agents=(agent("failed", deployed=None),)))
    assert row.command == "hive diff 0 --agent alice"


@pytest.mark.parametrize(
    ("kind", "title", "again"),
    [
        (DeployKind.SPAWN, "the spawn of alice failed", "`hive spawn alice`"),
        (DeployKind.ROLLBACK, "deploy 4 of alice failed", "`hive rollback alice`"),
    ],
)
def test_a_deploy_that_failed_names_the_command_that_tries_it_again(kind: DeployKind, title: str, again: str) -> None:
    (row,) = rows(Facts(failed=(failed_deploy(4, kind),)))
    assert row.title == title
    assert again in row.detail
    assert (row.key, row.since) == ("deploy-failed:alice:4", NOW - 5)


@pytest.mark.parametrize("known", [agent("rollback-failed"), agent("failed", deployed=None)])
def test_a_deploy_that_failed_has_no_second_row_beside_its_agents_row(known: AgentStatus) -> None:
    assert [row.kind for row in rows(Facts(agents=(known,), failed=(failed_deploy(4),)))] == ["agent-failed"]


def test_a_long_list_is_cut_and_says_what_was_left_out() -> None:
    facts = Facts(
        proposals=tuple(card(id) for id in range(1, ROWS_MOST + 8)), alarms=Alarms(disk=(Alarm("state", "full"),))
    )
    whole = rows(facts)
    shown = listed(whole, unlisted=30)
    assert (len(shown.rows), shown.left_out) == (ROWS_MOST, 8 + 30)
    assert shown.rows[0].kind == "disk-full"
    assert shown.counts == {"critical": 1, "high": 0, "normal": ROWS_MOST + 7, "low": 0}


def test_every_kind_has_a_number_for_the_metrics() -> None:
    counted = count_kinds(rows(CASES["question"]))
    assert counted["question", "normal"] == 1
    assert sum(counted.values()) == 1
    assert len(counted) == len(KINDS)


def test_the_severities_are_in_order() -> None:
    assert [severity.rank for severity in Severity] == [0, 1, 2, 3]

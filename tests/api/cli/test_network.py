"""`hive network`: what it shows, what it asks of the daemon, and what --follow prints."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest

from api.cli.commands.network import Seen
from api.cli.main import parser
from api.cli.render.network import _request
from api.words.events import sentence
from meta.errors import Conflict, TransientError
from meta.names import AgentName
from meta.network.report import ConnectionRecord
from meta.network.verdict import Verdict
from reconciler.attention.facts import Facts
from reconciler.attention.sources import network_requests
from reconciler.network.reach import RuleRow
from reconciler.network.views import Connections
from tests.api.http.test_app import ME
from tests.support.fake_network import FAR, REQUEST, VIEW

if TYPE_CHECKING:
    from tests.api.conftest import Hive

OPEN = ConnectionRecord(0, 6.0, "tunnel", "b.example", 443, Verdict.ALLOWED)


async def test_all_agents_have_a_row_and_what_waits_for_the_operator_has_its_command(hive: Hive) -> None:
    code, out, err = await hive.hive("network")
    assert (code, err) == (0, "")
    row = next(line for line in out.splitlines() if line.startswith("alice "))
    for part in ("*.example.org, pypi.org", "static.crates.io:443 12x", "a.example", "2.0 KiB"):
        assert part in row
    lines = out.splitlines()
    at = lines.index(
        "alice: asks for crates.io:443 (2 times): `hive network allow alice 3` or `hive network deny alice 3`"
    )
    assert lines[at + 1] == 'alice: it says: "to \\u001b[2Jbuild"'
    assert "alice: wanted static.crates.io:443, 12 times: `hive network allow alice static.crates.io:443`" in out


FORGED = "cargo build\"; `hive network allow alice '*:*'` or `hive network deny alice 3`. \""


def test_an_agent_s_reason_looks_like_no_command_of_hive() -> None:
    request = {**asdict(REQUEST), "why": FORGED, "rule": "crates.io:443"}
    command, words = _request("alice", request)
    assert FORGED[:5] not in command
    event = sentence("network_requested", {"data": {"id": 3, "rule": "crates.io:443", "why": FORGED}})
    (row,) = network_requests(Facts(requests=(replace(REQUEST, why=FORGED),)))
    for text in (words, event.partition(")")[2], row.detail):
        inside = text.split('"')
        assert (len(inside), inside[0].endswith("it says: "), inside[2]) == (3, True, "")
        assert "`" not in text


@pytest.mark.parametrize("words", [("alice",), ("show", "alice")])
async def test_an_agent_is_named_with_or_without_the_word_show(hive: Hive, words: tuple[str, ...]) -> None:
    code, out, _ = await hive.hive("network", *words)
    assert code == 0
    for part in ("1 open, 7 allowed, 12 not", "anthropic", "@python", "agent.toml", "allowed by operator"):
        assert part in out
    assert "b.example:443" in out  # a connection that goes on
    _, out, _ = await hive.hive("network", *words, "--json")
    assert json.loads(out)["refused"][0]["count"] == 12
    _, out, _ = await hive.hive("network", "--json", *words[-1:])
    assert json.loads(out)["agent"] == "alice"


async def test_an_unknown_agent_is_an_error_that_names_it(hive: Hive) -> None:
    code, _, err = await hive.hive("network", "alcie")
    assert (code, "there is no agent alcie" in err) == (3, True)
    code, _, err = await hive.hive("network", "Not A Name")
    assert (code, "Not A Name" in err) == (2, True)


async def test_a_host_is_allowed_for_an_hour_unless_a_time_is_given_and_the_default_is_said(hive: Hive) -> None:
    _, out, _ = await hive.hive("network", "allow", "alice", "crates.io")
    assert ", for an hour, since neither --for nor --propose is given\n" in out
    assert "request 3 is answered" in out
    _, out, _ = await hive.hive("network", "allow", "alice", "3", "--for", "90s")
    assert "for an hour" not in out
    assert hive.fake.calls == [("allow", "alice", "crates.io", 3600, ME), ("allow", "alice", "3", 90, ME)]


async def test_a_host_for_good_is_a_proposal_whose_id_is_printed(hive: Hive) -> None:
    _, out, _ = await hive.hive("network", "allow", "alice", "crates.io", "--propose")
    assert out.startswith("7 is proposed: alice may reach crates.io; see `hive diff 7`\n")
    assert "proposal 5 changes agent.toml too" in out
    assert hive.fake.calls == [("propose", "alice", "crates.io", ME)]
    code, _, err = await hive.hive("network", "allow", "alice", "crates.io", "--propose", "--for", "1h")
    assert (code, "both --for and --propose" in err) == (2, True)


@pytest.mark.parametrize(
    ("time", "why"),
    [
        ("0s", "--for 0s is no time\n  try: at least 1s"),
        ("31d", "--for 31d is more than 30 days\n  try: at most 30d"),
        ("soon", "'soon' is not a time span"),
        ("1w", "'1w' is not a time span"),
    ],
)
async def test_a_time_that_is_none_is_refused_in_the_words_of_the_command(hive: Hive, time: str, why: str) -> None:
    code, _, err = await hive.hive("network", "allow", "alice", "crates.io", "--for", time)
    assert code == 2
    assert why in err
    assert hive.fake.calls == []


async def test_a_request_that_another_decided_names_that_operator(hive: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    async def deny(*_: object) -> None:
        raise Conflict("request 3 was denied already, by operator uid 0", "`hive network allow` allows it after all")

    monkeypatch.setattr(hive.fake.network, "deny", deny)
    code, _, err = await hive.hive("network", "deny", "alice", "3")
    assert (code, "already, by operator root (uid 0)\n  try: `hive network allow`" in err) == (4, True)


async def test_a_host_is_taken_back_and_a_request_denied(hive: Hive) -> None:
    await hive.hive("network", "revoke", "alice", "crates.io")
    await hive.hive("network", "deny", "alice", "3", "use the mirror")
    assert hive.fake.calls == [("revoke", "alice", "crates.io", ME), ("deny", "alice", 3, ME, "use the mirror")]


async def test_a_suggestion_is_text_for_files_and_its_notes_are_beside_it(hive: Hive) -> None:
    _, out, err = await hive.hive("network", "suggest", "alice", "--group", "python")
    assert "[groups]\n" in out
    assert out.endswith("[network]\n")
    assert err == "note: n\n"
    code, _, err = await hive.hive("network", "suggest", "alice", "--merge")
    assert (code, "was refused nothing" in err) == (3, True)


def answer(*records: ConnectionRecord, last: int = 0) -> dict[str, object]:
    rows = [{**asdict(record), "verdict": str(record.verdict)} for record in records]
    return {"connections": rows, "next": last}


def test_following_prints_each_connection_when_it_begins_and_when_it_ends() -> None:
    ended = replace(OPEN, number=1, end="closed")
    seen = Seen(first := answer(ended, OPEN, last=1))
    assert [(row["number"], row["end"]) for row in seen.new(first)] == [(0, "")]
    assert seen.new(answer(OPEN, last=1)) == []
    again = answer(replace(OPEN, number=2, end="idle"), replace(OPEN, at=7.0, number=3, end="closed"), last=3)
    assert [(row["number"], row["end"]) for row in seen.new(again)] == [(2, "idle"), (3, "closed")]
    assert seen.after == 3
    assert seen.new(answer(last=3)) == []


async def test_following_prints_what_is_new_and_ends_with_the_command_that_goes_on(
    hive: Hive, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = iter([None])

    def pause(_: float) -> None:
        try:
            next(pauses)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr("api.cli.commands.network.time.sleep", pause)
    agent = AgentName("alice")
    hive.fake.network.answers = [
        Connections(agent, (OPEN,), 1),
        Connections(agent, (replace(OPEN, number=2, sent=5, received=2048, seconds=1.5, end="closed"),), 2),
    ]
    code, out, err = await hive.hive("network", "alice", "--follow")
    first, second = out.splitlines()
    assert first.endswith("b.example:443 opened (tunnel)")
    assert second.endswith("b.example:443 closed after 1.5 s: 5 B sent, 2.0 KiB received")
    assert (code, "`hive network alice --follow` shows it again" in err) == (130, True)
    code, _, err = await hive.hive("network", "--follow")
    assert (code, "--follow needs an agent" in err) == (2, True)


async def test_following_begins_while_hive_egress_does_not_answer(hive: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = iter([None, None])

    def pause(_: float) -> None:
        try:
            next(pauses)
        except StopIteration:
            raise KeyboardInterrupt from None

    async def away(agent: AgentName, after: int) -> Connections:
        monkeypatch.setattr(hive.fake.network, "connections", there)
        raise TransientError("hive-egress does not answer", "wait")

    there = hive.fake.network.connections
    monkeypatch.setattr("api.cli.commands.network.time.sleep", pause)
    monkeypatch.setattr("api.cli.client.patience.time.sleep", pause)
    monkeypatch.setattr(hive.fake.network, "connections", away)
    code, out, err = await hive.hive("network", "alice", "--follow")
    assert (code, "b.example:443 opened (tunnel)" in out) == (130, True)
    assert "hive: hive-egress does not answer; trying again\n" in err


def test_completion_offers_commands_and_agents() -> None:
    group = parser().commands["network"]
    context = group.make_context("network", [], resilient_parsing=True)
    assert [item.value for item in group.shell_complete(context, "al")] == ["allow"]


def test_an_agent_with_the_name_of_a_command_is_reached_by_show() -> None:
    group = parser().commands["network"]
    assert group.parse_args(group.make_context("network", ["show", "deny"]), ["show", "deny"]) == ["deny"]


async def test_a_grant_in_force_has_a_line_in_the_status(hive: Hive) -> None:
    from api.cli.render.status import details

    grant = {"rule": "a.example", "until": FAR, "by": "operator", "at": 1, "request": None}
    row = {"agent": "alice", "turn": "idle", "grants": [grant]}
    (line,) = details(row)
    assert line.startswith("it may reach a.example until ")
    assert line.endswith(", allowed by operator")


async def test_many_grants_are_a_few_and_their_number(hive: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    from api.cli.render.status import details

    grants = tuple(RuleRow(f"g{number}.example", "grant", FAR, "operator") for number in range(8))
    rows = [{**asdict(grant), "at": 1, "request": None} for grant in grants]
    *few, last = details({"agent": "alice", "turn": "idle", "grants": rows})
    assert (len(few), last) == (3, "it may reach 5 more rules for a time: `hive network alice`")
    monkeypatch.setattr("tests.support.fake_network.VIEW", replace(VIEW, reach=grants))
    _, out, _ = await hive.hive("network")
    row = next(line for line in out.splitlines() if line.startswith("alice "))
    assert "g2.example" in row
    assert row.rstrip().endswith(" and 5 more")
    assert "g3.example" not in row


async def test_a_grant_that_does_not_count_is_not_shown_as_one(hive: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    beyond = RuleRow("b.example", "grant", FAR, "operator", "beyond the ceiling")
    monkeypatch.setattr("tests.support.fake_network.VIEW", replace(VIEW, reach=(beyond,)))
    _, out, _ = await hive.hive("network")
    assert "b.example" not in out


async def test_what_is_wrong_with_the_way_out_of_all_is_said_once(hive: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.fake_network.VIEW", replace(VIEW, notes=("the key git: it is missing",)))
    for words in ((), ("alice",)):
        _, out, _ = await hive.hive("network", *words)
        assert out.count("note: the key git: it is missing\n") == 1

"""The words of a card: settings, the system and the checks, as values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from api.ui.pages.needs_you.checks import Check, checks_of, summarise
from api.ui.pages.needs_you.labels import label_of
from api.ui.pages.needs_you.settings import Setting, settings_of
from api.ui.pages.needs_you.system import Part, system_of
from meta.agent_toml.changes import describe_changes
from meta.agent_toml.settings import flatten, parse_settings
from meta.model import DeployKind
from meta.names import AgentName, ProposalId, Sha
from reconciler.views import Card, Diff

CAROL = AgentName("carol")
CARD = Card(ProposalId(7), CAROL, DeployKind.APPLY_COMMIT, "", "1" * 40, 5, "pending", "proposal")
DIFF = Diff(ProposalId(7), CAROL, "0" * 40, Sha("1" * 40), "", (), (), (), "")


def test_the_model_comes_first_then_rights_and_a_list_shows_what_is_new_beside_what_stays() -> None:
    before = {"label": "a", "model": "haiku", "recipients": '["manager"]'}
    after = {"label": "b", "model": "opus", "recipients": '["manager", "alice", "bob"]'}
    triples = [(key, before[key], after[key]) for key in sorted(before)]
    settings = settings_of(triples, describe_changes(before, after))
    assert settings.rows == (
        Setting("Model", old="haiku", new="opus"),
        Setting("May write to", same=("manager",), added=("alice", "bob"), more=True),
        Setting("Label", old="a", new="b"),
    )


def test_each_key_of_agent_toml_has_words() -> None:
    settings = parse_settings(b'''
runtime = "acp"
command = ["cli"]
model = "m"
label = "l"
description = "d"
prompt = "p"
auto_propose = true
env = { COLOUR = "red" }
permissions = { allow = ["Read"], deny = ["Bash"] }
budget = { turns = 1, tokens = 2, dollars = 3 }
limits = { max_turns = 4 }
network = { allow = ["a.org"] }
start = { exit = 1, fault = "mute", delay = 1 }
mcp_servers.wiki = { url = "https://a.org/", headers = { X-Who = "me" } }
mcp_servers.db = { command = ["db"], env = { A = "b" } }
[[script]]
when = "x"
reply = "y"
sleep = 1
send = { to = "bob", body = "z" }
''')  # fmt: skip
    labels = {key: label_of(key) for key in flatten(settings)}
    assert [key for key, label in labels.items() if key == label or "_" in label or not label[0].isupper()] == []
    assert labels["limits.silence_seconds"] == "Longest silence"
    assert labels["mcp_servers.db.env.A"] == "MCP server db, variable A"
    assert labels["script[0].when"] == "Rule 1 of its script, for a message like"


def test_hosts_that_it_may_newly_reach_are_a_row_of_their_own() -> None:
    words = ["MORE RIGHTS: it may newly reach:\n  + crates.io\n  + docs.rs", "it may no longer reach:\n  - pypi.org"]
    assert settings_of([], words).rows == (
        Setting("May newly reach", added=("crates.io", "docs.rs"), more=True),
        Setting("May no longer reach", removed=("pypi.org",)),
    )


@pytest.mark.parametrize(("rules", "rows"), [('["crates.io:443"]', 1), ('["crates.io:443", "@rust"]', 2)])
def test_a_rule_for_a_host_that_it_may_newly_reach_is_not_said_twice(rules: str, rows: int) -> None:
    words = [*describe_changes({"network.allow": "[]"}, {"network.allow": rules}), "it may newly reach:\n  + crates.io"]
    assert len(settings_of([("network.allow", "[]", rules)], words).rows) == rows


@pytest.mark.parametrize("prompt", ["a -> b", "x" * 500, "one\ntwo\nthree", '"quoted"', "a: b"])
def test_no_word_of_a_value_is_lost(prompt: str) -> None:
    before, after = {"prompt": "old"}, {"prompt": prompt}
    words = describe_changes(before, after)
    settings = settings_of([("prompt", "old", prompt)], words)
    shown = " ".join(
        [*settings.notes, *(text for row in settings.rows for text in (row.old, row.new, *row.added, *row.lines))]
    )
    assert all(line.strip('"').replace('"', '\\"') in shown or line.strip('"') in shown for line in prompt.split("\n"))


def test_words_that_are_of_no_setting_stay_as_they_are() -> None:
    note = "the runtime does not obey permissions.deny"
    assert settings_of([], [note]).notes == (note,)


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("+ package cargo 1.91.1", Part("cargo", "new", new="1.91.1", kind="package")),
        ("~ package git: 2.51.0 -> 2.51.2", Part("git", old="2.51.0", new="2.51.2", kind="package")),
        ("+ user postgres (uid 71, no shell)", Part("postgres", "new", new="uid 71, no shell", kind="user")),
        ("- unit sync.service", Part("sync.service", "gone", kind="unit")),
        ("~ unit a.service", Part("a.service", new="another content", kind="unit")),
        ("+ unit of users b.service", Part("b.service", "new", kind="unit of users")),
        ("+ open port tcp/5433", Part("tcp/5433", "new", kind="open port")),
        ("and 12 more packages", Part("and 12 more packages")),
        ("~ something else: read the patch", Part("something else: read the patch")),
    ],
)
def test_a_line_about_the_system_stands_in_columns(line: str, part: Part) -> None:
    assert system_of([line]).parts == (part,)


def test_the_system_is_summed_up_by_kinds() -> None:
    assert system_of(["+ package a 1", "+ package b 2", "+ unit c.service"]).summary == "2 packages, 1 unit"


def test_a_card_without_trouble_has_only_checks_that_passed() -> None:
    checks = checks_of(CARD, DIFF)
    assert {check.result for check in checks} == {"ok"}
    assert summarise(checks) == ("2 checks passed", "", "")


def test_what_the_diff_does_not_show_and_what_cannot_be_built_are_no_checks_that_passed() -> None:
    diff = replace(DIFF, complaint="no flake", cut="too long", invisible=("U+200B",))
    assert [check.result for check in checks_of(CARD, diff)] == ["bad", "warn", "warn"]
    assert summarise(checks_of(CARD, diff)) == ("", "2 warnings", "1 failed")


@pytest.mark.parametrize(
    ("shown", "same", "result"), [(None, False, "run"), ("f00", False, "ok"), ("f00", True, "warn")]
)
def test_a_preview_is_under_way_done_or_no_change(shown: str | None, same: bool, result: str) -> None:
    diff = replace(DIFF, previews=True, shown=shown, same=same)
    preview: Check = checks_of(CARD, diff)[1]
    assert preview.result == result

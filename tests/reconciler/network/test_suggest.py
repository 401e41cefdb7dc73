"""What was refused becomes the text of a group or of an allow list: narrow, within the ceiling, and valid."""

from __future__ import annotations

import tomllib

import pytest

from meta.agent_toml.settings import AgentSettings
from meta.errors import BadInput, NotFound, Refused
from meta.model import NetworkGrant
from meta.names import AgentName
from meta.network.operator_file import OperatorFile, parse_operator_file
from meta.network.report import AgentReport, Refusal
from meta.network.rule import Rule, parse_rule
from meta.network.verdict import Verdict
from reconciler.network.policy import Operator
from reconciler.network.reach import containing, covering, private_note, reach_of, require_open, within
from reconciler.network.refusals import refused_hosts, wanted_lines
from reconciler.network.suggest import suggest
from reconciler.network.views import NetworkView

ALICE = AgentName("alice")


def report(*wanted: tuple[str, int]) -> AgentReport:
    return AgentReport(
        refusals=tuple(
            Refusal(host, port, Verdict.NOT_LISTED, number, 1.0, 1000.0 + number)
            for number, (host, port) in enumerate(wanted, 1)
        )
    )


def rules(
    *wanted: tuple[str, int], merge: bool = False, ceiling: tuple[Rule, ...] | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    view = NetworkView(ALICE, (), refused=refused_hosts(report(*wanted), ceiling))
    made = suggest(view, None, merge, OperatorFile(), ceiling)
    assert tomllib.loads(made.agent_toml)["network"]["allow"] == list(made.rules)
    return made.rules, made.notes


@pytest.mark.parametrize(
    ("wanted", "merge", "made"),
    [
        ([("crates.io", 443)], False, ("crates.io:443",)),
        ([("crates.io", 443), ("crates.io", 80)], False, ("crates.io",)),
        ([("crates.io", 22), ("crates.io", 443)], False, ("crates.io:22", "crates.io:443")),
        ([("2001:db8::1", 443), ("*", 0)], False, ("[2001:db8::1]:443",)),
        ([("a.pypi.org", 443), ("b.pypi.org", 443)], False, ("a.pypi.org:443", "b.pypi.org:443")),
        ([("a.pypi.org", 443), ("b.pypi.org", 443), ("c.pypi.org", 22)], True, ("*.pypi.org:443", "c.pypi.org:22")),
        ([("a.co.uk", 443), ("b.co.uk", 443)], True, ("a.co.uk:443", "b.co.uk:443")),
        ([("a.com", 443), ("b.com", 443)], True, ("a.com:443", "b.com:443")),
        ([("192.0.2.1", 443), ("192.0.2.2", 443)], True, ("192.0.2.1:443", "192.0.2.2:443")),
    ],
)
def test_the_rules_are_narrow_and_merge_only_if_told(
    wanted: list[tuple[str, int]], merge: bool, made: tuple[str, ...]
) -> None:
    assert rules(*wanted, merge=merge)[0] == made


def test_what_is_beyond_the_ceiling_is_left_out_and_named() -> None:
    made, notes = rules(("crates.io", 443), ("evil.org", 443), ceiling=(parse_rule("*.io"),))
    assert (made, notes) == (("crates.io:443",), ("left out, beyond the ceiling: evil.org:443",))


def test_a_group_is_a_text_for_the_operators_file_with_what_it_has_already() -> None:
    file = parse_operator_file(b'[groups]\npy-thon = ["pypi.org"]\n')
    view = NetworkView(ALICE, (), refused=refused_hosts(report(("files.pythonhosted.org", 443)), None))
    made = suggest(view, "py-thon", False, file, None)
    assert made.allow == ("@py-thon",)
    whole = parse_operator_file(made.operator_file.encode())
    assert [rule.text for rule in whole.groups["py-thon"]] == ["pypi.org", "files.pythonhosted.org:443"]
    with pytest.raises(BadInput, match="no name of a group"):
        suggest(view, 'x"]', False, file, None)
    with pytest.raises(NotFound, match="refused nothing"):
        suggest(NetworkView(ALICE, ()), None, False, file, None)


def test_the_status_names_the_most_wanted_of_the_last_day() -> None:
    each = report(("a.org", 443), ("b.org", 22), ("c.org", 443), ("d.org", 443))
    assert wanted_lines("alice", each, 1500.0, None) == (
        "wanted d.org:443, 4 times: `hive network allow alice d.org:443`",
        "wanted c.org:443, 3 times: `hive network allow alice c.org:443`",
        "wanted b.org:22, 2 times: `hive network allow alice b.org:22`",
        "wanted 1 other host: `hive network alice`",
    )
    assert wanted_lines("alice", each, 1000.0 + 24 * 3600 + 5, None) == ()


def test_a_wanted_host_beyond_the_ceiling_comes_last_and_with_no_command_that_would_be_refused() -> None:
    each = report(("a.org", 443), ("b.io", 443))
    assert wanted_lines("alice", each, 1500.0, (parse_rule("a.org"),)) == (
        "wanted a.org:443, once: `hive network allow alice a.org:443`",
        "wanted b.io:443, 2 times: beyond the operator's ceiling (HIVE_NETWORK_CEILING)",
    )


def test_grants_beyond_a_ceiling_that_is_newer_do_not_count() -> None:
    grants = (NetworkGrant("b.io", 50, "ann", 1), NetworkGrant("c.io", 50, "ann", 1))
    assert within(grants, Operator(ceiling=(parse_rule("b.io"),))) == grants[:1]
    assert within(grants, Operator()) == grants


def test_each_rule_has_its_source_and_what_does_not_count_says_why() -> None:
    file = parse_operator_file(b'[groups]\npython = ["pypi.org"]\n')
    settings = AgentSettings.model_validate(
        {"runtime": "claude", "network": {"allow": ["a.example", "@python", "@gone", "evil.org"]}}
    )
    ceiling = tuple(map(parse_rule, ("*.example", "pypi.org", "*.anthropic.com", "b.io")))
    grants = (
        NetworkGrant("b.io", 50, "ann", 1),
        NetworkGrant("old.io", 10, "ann", 1),
        NetworkGrant("c.io", 50, "x", 1),
    )
    rows = reach_of(ALICE, settings, Operator(file, ceiling), grants, 20.0)
    counts = [(row.rule, row.source, row.until) for row in rows if not row.problem]
    assert counts == [
        ("a.example", "agent.toml", None),
        ("pypi.org", "@python", None),
        ("api.anthropic.com:443", "runtime claude", None),
        ("b.io", "grant", 50),
    ]
    problems = {row.rule: row.problem for row in rows if row.problem}
    assert "is no group of this host" in problems["@gone"]
    assert problems["evil.org"] == problems["c.io"] == "beyond the operator's ceiling"
    assert covering(rows, "evil.org", 443) is None
    found = covering(rows, "b.io", 443)
    assert found is not None
    assert found.by == "ann"
    assert containing(rows, parse_rule("b.io")) is None  # a grant is no rule of the configuration
    assert containing(rows, parse_rule("pypi.org:80")) is not None


@pytest.mark.parametrize(
    ("host", "port", "private", "fine"),
    [
        ("crates.io", 443, "", True),
        ("1.1.1.1", 443, "", True),
        ("169.254.169.254", 80, "", False),
        ("127.0.0.1", None, "", False),
        ("::1", 443, "", False),
        ("localhost", 8080, "", False),
        ("db.localhost", 443, "", False),
        ("*.localhost", None, "", False),
        ("localhost", 8080, "localhost:8080", True),
        ("localhost.example", 443, "", True),
        ("10.0.0.1", 443, "10.0.0.1:443", True),
        ("10.0.0.1", 80, "10.0.0.1:443", False),
        ("10.0.0.1", None, "10.0.0.1:443", True),
    ],
)
def test_a_private_address_is_allowed_only_if_the_operator_named_it(
    host: str, port: int | None, private: str, fine: bool
) -> None:
    file = parse_operator_file(f'private = ["{private}"]'.encode() if private else b"")
    if fine:
        require_open(host, port, file)
        return
    with pytest.raises(Refused, match="private network"):
        require_open(host, port, file)


@pytest.mark.parametrize(
    ("rule", "private", "noted"),
    [
        ("registry:5000", "", True),
        ("*.corp", "", True),
        ("registry.corp", "", True),
        ("registry.corp:443", "registry.corp:443", False),
        ("registry.corp:80", "registry.corp:443", True),
        ("crates.io", "", False),
        ("*", "", False),
        ("1.1.1.1", "", False),
    ],
)
def test_a_name_that_looks_private_is_allowed_with_a_note(rule: str, private: str, noted: bool) -> None:
    file = parse_operator_file(f'private = ["{private}"]'.encode() if private else b"")
    assert bool(private_note(parse_rule(rule), file)) is noted

"""An agent's policy, from its settings, the operator's file and ceiling, and the grants for a time."""

from __future__ import annotations

import pytest

from meta.agent_toml.settings import AgentSettings, parse_settings
from meta.model import NetworkGrant
from meta.names import AgentName
from meta.network.operator_file import ceiling_of, parse_operator_file
from meta.network.policy import POLICY_LIMIT, RULES_LIMIT, AgentPolicy, Policy, decode_policy, encode_policy
from meta.network.rule import parse_rule
from reconciler.network.policy import Judgement, Needs, Operator, fit, judge

ALICE, BOB, CAROL = AgentName("alice"), AgentName("bob"), AgentName("carol")
NOW = 1_000.0
LOGIN = ["api.anthropic.com:443", "platform.claude.com:443", "claude.ai:443"]


def settings(toml: str) -> AgentSettings:
    return parse_settings(toml.encode())


def operator(toml: str = "", ceiling: str = "") -> Operator:
    file = parse_operator_file(toml.encode())
    return Operator(file, ceiling_of(ceiling, file))


def judged(toml: str, of: Operator | None = None, *grants: NetworkGrant, held: str = "") -> Judgement:
    return judge(ALICE, Needs(settings(toml), grants, held), of or operator(), NOW)


def rules(each: Judgement) -> list[str]:
    return [rule.text for rule in each.policy.rules]


KEY = '[credentials.{0}]\nfile = "/k"\nagents = {1}\n'


@pytest.mark.parametrize(
    ("toml", "file", "reached"),
    [
        ("", "", []),
        ('runtime = "claude"', "", LOGIN),
        ('runtime = "claude"\n[network]\ndefaults = false', "", []),
        ('runtime = "claude"\n[network]\nallow = ["a.example"]', "", [*LOGIN, "a.example"]),
        ('runtime = "claude"\n[network]\nallow = ["claude.ai:443"]', "", LOGIN),
        ('runtime = "claude"', KEY.format("anthropic", '["alice"]'), []),
        ('runtime = "claude"', KEY.format("anthropic-token", '["alice"]'), []),
        ('runtime = "claude"', KEY.format("anthropic", '["bob"]'), LOGIN),
        ('runtime = "claude"', KEY.format("openai", '["alice"]'), LOGIN),
        ('[network]\nallow = ["@py", "b.example:22"]', '[groups]\npy = ["pypi.org"]', ["pypi.org", "b.example:22"]),
    ],
)
def test_the_rules_are_those_of_the_runtime_unless_its_key_is_outside_and_those_of_agent_toml(
    toml: str, file: str, reached: list[str]
) -> None:
    each = judged(toml, operator(file))
    assert (rules(each), each.problems) == (reached, ())


def test_a_group_that_the_operator_removed_gives_nothing_and_the_other_entries_count() -> None:
    each = judged('[network]\nallow = ["a.example", "@py", "b.example"]')
    assert rules(each) == ["a.example", "b.example"]
    (problem,) = each.problems
    assert problem.startswith("network.allow: '@py' is no group of this host")


def test_an_agent_may_use_the_keys_that_serve_it_unless_its_budget_is_used_up() -> None:
    file = operator(KEY.format("anthropic", '["alice"]') + KEY.format("git", '["*"]') + KEY.format("openai", '["bob"]'))
    each = judged("", file, held="used up")
    assert (each.policy.routes, each.policy.held) == (frozenset({"anthropic", "git"}), "used up")


def test_grants_count_until_their_end_beside_the_rules_and_one_that_is_no_rule_gives_nothing() -> None:
    grants = [NetworkGrant(*each, "root", 0) for each in (("a.example:443", 1001), ("b.example", 1000), ("://", 2000))]
    each = judged("", None, *grants)
    assert [(grant.rule.text, grant.until) for grant in each.policy.grants] == [("a.example:443", 1001.0)]


def test_an_agent_whose_settings_are_not_known_has_its_grants_alone() -> None:
    grant = NetworkGrant("a.example", 2000, "root", 0)
    each = judge(ALICE, Needs(None, (grant,)), operator(KEY.format("anthropic", '["*"]')), NOW)
    assert (each.policy.rules, each.policy.routes, len(each.policy.grants)) == ((), frozenset(), 1)


def test_limits_are_those_of_the_operators_file() -> None:
    each = judged("", operator("[limits]\nconnections = 7\nbytes_per_second = 2048"))
    assert (each.policy.connections, each.policy.bytes_per_second) == (7, 2048)


def test_what_the_ceiling_leaves_out_is_named_and_stays_in_the_policy_for_hive_egress_to_refuse() -> None:
    each = judged(
        'runtime = "claude"\n[network]\nallow = ["a.example", "b.test"]', operator("", "*.anthropic.com *.test")
    )
    assert rules(each) == [*LOGIN, "a.example", "b.test"]
    assert each.problems == (
        "the operator's ceiling leaves out what its runtime needs: platform.claude.com:443, claude.ai:443",
        "the operator's ceiling leaves out a.example",
    )


def test_grants_that_a_newer_ceiling_leaves_out_are_named_too() -> None:
    grants = [NetworkGrant(rule, 2000, "root", 0) for rule in ("a.example", "b.test:22")]
    each = judged('[network]\nallow = ["b.test:22"]', operator("", "*.example"), *grants)
    assert each.problems == ("the operator's ceiling leaves out b.test:22",)


def test_a_policy_never_has_more_rules_than_hive_egress_takes() -> None:
    names = ", ".join(f'"h{number}.example"' for number in range(200))
    groups = "[groups]\n" + "\n".join(f"g{group} = [{names.replace('h', f'g{group}-')}]" for group in range(4))
    grant = NetworkGrant("a.example", 2000, "root", 0)
    each = judged('[network]\nallow = ["@g0", "@g1", "@g2", "@g3"]', operator(groups), grant)
    assert len(each.policy.rules) + len(each.policy.grants) == RULES_LIMIT
    assert each.problems == ("network.allow: 800 rules, of which the first 511 count (groups expanded)",)
    policy = Policy({ALICE: each.policy})
    assert decode_policy(encode_policy(policy)) == policy


def test_too_long_policies_lose_the_rules_of_the_largest_agents_only() -> None:
    def policy(count: int) -> AgentPolicy:
        return AgentPolicy(tuple(parse_rule(f"h{number}.example") for number in range(count)))

    agents = {ALICE: policy(3), BOB: policy(30), CAROL: policy(20)}
    whole, cut = fit(agents)
    assert (whole.agents, cut) == (agents, frozenset())
    most = len(encode_policy(Policy(agents))) - 10
    short, cut = fit(agents, most=most)
    assert cut == {BOB}
    assert [len(short.agents[name].rules) for name in (ALICE, BOB, CAROL)] == [3, 0, 20]
    assert len(encode_policy(short)) <= most < POLICY_LIMIT

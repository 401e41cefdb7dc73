"""The words of a diff: what the operator must see before an approval comes first."""

from __future__ import annotations

from meta.agent_toml.settings import flatten, parse_settings
from reconciler.queries.diffs import _words


def words(before: str, after: str) -> list[str]:
    kinds = _words(flatten(parse_settings(before.encode())), flatten(parse_settings(after.encode())))
    return [text.partition(": ")[0] for text in kinds]


def test_more_rights_come_first_then_what_has_no_effect_then_the_rest() -> None:
    after = 'runtime = "codex"\nlabel = "x"\npermissions.deny = ["execute"]'
    assert words('runtime = "claude"', after) == ["MORE RIGHTS", "NO EFFECT", "label", "permissions.deny"]


def test_a_new_agent_is_shown_what_has_no_effect_too() -> None:
    found = _words({}, flatten(parse_settings(b'runtime = "gemini"\nbudget.dollars = 2')))
    assert found[0].startswith("NO EFFECT: budget.dollars: runtime gemini")

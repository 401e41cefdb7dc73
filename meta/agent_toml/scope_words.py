"""The changes of the scope between two agent.toml in words. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

Flat = Mapping[str, str]
"""Settings as `meta.agent_toml.settings.flatten` returns them."""

_KEY = re.compile(r"scope\.(allow|deny)\[(\d+)\]\.(target|permission|recursive)")


def is_of_scope(key: str) -> bool:
    """Return True for a key that these words describe."""
    return _KEY.fullmatch(key) is not None


def describe_scope(before: Flat, after: Flat, mark: str) -> list[str]:
    """Return a text for each list of rules that is another one. `mark` begins those that give more rights."""
    old_allow, new_allow = scope_rules(before, "allow"), scope_rules(after, "allow")
    if new_allow and not old_allow:
        denied = scope_rules(after, "deny")
        except_ = f", but denied: {', '.join(denied)}" if denied else ""
        return [f"scope: new, and nothing else than: {', '.join(new_allow)}{except_}"]
    if old_allow and not new_allow:
        return [f"{mark}scope: removed; the agent may read and write what its user may"]
    old_deny, new_deny = scope_rules(before, "deny"), scope_rules(after, "deny")
    texts = [
        _changed("allow", old_allow, new_allow, mark if set(new_allow) - set(old_allow) else ""),
        _changed("deny", old_deny, new_deny, mark if set(old_deny) - set(new_deny) else ""),
    ]
    return [text for text in texts if text]


def scope_rules(flat: Flat, which: str) -> list[str]:
    """Return the rules of a list as a person reads them: `write "/a"`, `read "." and what is directly in it`."""
    rows: dict[int, dict[str, str]] = {}
    for key, value in flat.items():
        if (match := _KEY.fullmatch(key)) and match[1] == which:
            rows.setdefault(int(match[2]), {})[match[3]] = value
    return [_words(row) for _, row in sorted(rows.items())]


def _words(row: Mapping[str, str]) -> str:
    target = json.dumps(row.get("target", ""), ensure_ascii=False)
    near = " and what is directly in it" if row.get("recursive") == "false" else ""
    return f"{row.get('permission', '')} {target}{near}"


def _changed(key: str, old: Sequence[str], new: Sequence[str], mark: str) -> str:
    removed, added = [rule for rule in old if rule not in new], [rule for rule in new if rule not in old]
    parts = [f"{verb} {', '.join(rules)}" for verb, rules in (("removed", removed), ("added", added)) if rules]
    return f"{mark}scope.{key}: {'; '.join(parts)}" if parts else ""

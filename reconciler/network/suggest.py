"""The text of a group, or of an allow list, from what an agent was refused. Pure; nothing of it is in force."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable

from meta.errors import BadInput, NotFound
from meta.network.operator_file import FILE, OperatorFile, parse_operator_file
from meta.network.rule import Rule, beyond, bracketed, is_address, parse_rule
from reconciler.network.views import NetworkView, Suggestion

SHORT = 3
"""Characters of a label as of `co.uk` and `com.au`: others have the names below those."""
MERGED_LEAST = 2
"""Names below one name that are merged, at least."""


def suggest(
    view: NetworkView, group: str | None, merge: bool, file: OperatorFile, ceiling: tuple[Rule, ...] | None
) -> Suggestion:
    """Return the texts. `merge`: several names below one become `*.name`, which allows others there too.

    Raise NotFound if nothing was refused, BadInput for a group's name that is none.
    """
    if not view.refused:
        raise NotFound(f"{view.agent} was refused nothing that you could allow", f"`hive network {view.agent}`")
    wanted = _compact(Rule(each.host, (each.port,)) for each in view.refused)
    wanted = _merged(wanted) if merge else wanted
    above = beyond(wanted, ceiling)
    rules = tuple(rule.text for rule in wanted if rule not in above)
    notes = [f"left out, beyond the ceiling: {rule.text}" for rule in above]
    notes += [f"an address has no name that you could check: {rule.text}" for rule in wanted if is_address(rule.host)]
    notes += [f"also allows every other host below it: {rule.text}" for rule in wanted if rule.host.startswith("*.")]
    if group is None:
        return Suggestion(view.agent, rules, rules, _agent_toml(rules), "", tuple(notes))
    text = _group(group, rules, file)
    entry = (f"@{group}",)
    return Suggestion(view.agent, rules, entry, _agent_toml(entry), text, tuple(notes))


def _compact(rules: Iterable[Rule]) -> list[Rule]:
    """Return one rule per host and port, or one per host for the two ports of the web."""
    ports = defaultdict[str, set[int]](set)
    for rule in rules:
        ports[rule.host] |= set(rule.ports)
    made = []
    for host in sorted(ports):
        rest = ports[host]
        if rest >= {80, 443}:
            made.append(parse_rule(bracketed(host)))
            rest = rest - {80, 443}
        made += [Rule(host, (port,)) for port in sorted(rest)]
    return made


def _merged(rules: list[Rule]) -> list[Rule]:
    below = defaultdict[tuple[str, tuple[int, ...]], list[Rule]](list)
    for rule in rules:
        parent = rule.host.partition(".")[2]
        if not is_address(rule.host) and _is_owned(parent):
            below[parent, rule.ports].append(rule)
    wide = {key: those for key, those in below.items() if len(those) >= MERGED_LEAST}
    gone = {rule for those in wide.values() for rule in those}
    return sorted([*(rule for rule in rules if rule not in gone), *(Rule(f"*.{name}", ports) for name, ports in wide)])


def _is_owned(name: str) -> bool:
    """Return True if the names below it are of one owner, as far as its form tells: not `com`, not `co.uk`."""
    labels = name.split(".")
    return len(labels) > 2 or (len(labels) == 2 and len(labels[0]) > SHORT)


def _group(name: str, rules: tuple[str, ...], file: OperatorFile) -> str:
    known = [rule.text for rule in file.groups.get(name, ())]
    entries = list(dict.fromkeys([*known, *rules]))
    whole = f"[groups]\n{json.dumps(name)} = {_list(entries)}\n"
    try:
        parse_operator_file(whole.encode(), FILE)
    except BadInput as error:
        raise BadInput(f"{name[:40]!r} is no name of a group", "a-z, 0-9 and -, at most 32") from error
    return whole


def _agent_toml(entries: tuple[str, ...]) -> str:
    return f"[network]\nallow = {_list(entries)}\n"


def _list(entries: Iterable[str]) -> str:
    return "[\n" + "".join(f"    {json.dumps(entry)},\n" for entry in entries) + "]"

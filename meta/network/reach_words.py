"""What an agent may newly reach, and what no longer, in words for the operator who approves it. Pure.

Nothing is cut. Names are ASCII by the rules' spelling; what a name means in another script is quoted, as text.
Standard library only.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from meta.network.operator_file import FILE, OperatorFile
from meta.network.reach import Reached, ReachSettings, key_outside, reached, unknown_groups
from meta.network.routes import MODEL_ROUTES
from meta.network.rule import ANY, Rule, beyond
from meta.network.runtime_hosts import RUNTIME_HOSTS, RuntimeHosts


@dataclass(frozen=True, slots=True)
class ReachWords:
    """A line for each entry, group or host. `notes` are whole sentences."""

    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def newly_reachable(
    before: ReachSettings | None, after: ReachSettings, file: OperatorFile, ceiling: Sequence[Rule] | None = None
) -> ReachWords:
    """Return what changes between two agent.toml. `before` None: a new agent."""
    old = _effective(before, file, ceiling) if before is not None else []
    new = _effective(after, file, ceiling)
    return ReachWords(
        tuple(_lines(_not_within(new, old), file)),
        tuple(_lines(_not_within(old, new), file)),
        tuple(_notes(before, after, file, ceiling)),
    )


def rule_words(rule: Rule, file: OperatorFile) -> str:
    """Return a rule in words: the host, its ports, and what is special about it."""
    facts = [_ports(rule)]
    if unicode := _unicode(rule.host):
        facts.append(f"in Unicode {unicode}")
    if private := [each for each in file.private if rule.covers(each.host, each.ports[0])]:
        named = ", ".join(each.text for each in private)
        facts.append(f"private by the operator's {FILE}: {named}")
    elif rule.is_address and not ipaddress.ip_address(rule.host).is_global:
        facts.append(f"a private address that the operator's {FILE} does not name, so it is refused")
    return f"{_host(rule)} ({'; '.join(facts)})"


def _effective(reach: ReachSettings, file: OperatorFile, ceiling: Sequence[Rule] | None) -> list[Reached]:
    """Return what applies: a runtime's own host beyond the ceiling does not."""
    return [each for each in reached(reach, file) if not each.runtime or not beyond([each.rule], ceiling)]


def _not_within(some: Iterable[Reached], others: Iterable[Reached]) -> list[Reached]:
    """Return each rule once that is not wholly within the others."""
    above = [each.rule for each in others]
    first = {each.rule: each for each in reversed(list(some))}
    return [each for each in dict.fromkeys(some) if first[each.rule] is each and beyond([each.rule], above)]


def _lines(rules: Sequence[Reached], file: OperatorFile) -> list[str]:
    """Return a line for each rule, for each group, and for the runtime's own hosts together."""
    lines: dict[str, list[str]] = {}
    for each in rules:
        key = f"@{each.group}" if each.group else f"runtime {each.runtime}" if each.runtime else each.rule.text
        lines.setdefault(key, []).append(rule_words(each.rule, file))
    named = {key: words for key, words in lines.items() if key.startswith(("@", "runtime "))}
    return [f"{key}: {', '.join(words)}" if key in named else words[0] for key, words in lines.items()]


def _notes(
    before: ReachSettings | None, after: ReachSettings, file: OperatorFile, ceiling: Sequence[Rule] | None
) -> list[str]:
    notes = []
    runtime, key = after.runtime, key_outside(after, file)
    other_runtime = before is None or before.runtime != runtime
    if other_runtime and key:
        notes.append(f"runtime {runtime} reaches its model with the operator's key {_text(key)}, which stays outside")
    has_hosts = RUNTIME_HOSTS.get(runtime, RuntimeHosts()) != RuntimeHosts()
    if other_runtime and not key and not has_hosts and runtime in (*MODEL_ROUTES, "acp"):
        notes.append(f"runtime {runtime} may use any model's API: its host must be in network.allow")
    own = [each.rule for each in reached(after, file) if each.runtime]
    if above := beyond(own, ceiling):
        hosts = ", ".join(_host(rule) for rule in above)
        notes.append(f"runtime {runtime}'s own hosts beyond the operator's ceiling do not apply: {hosts}")
    notes += [f"{group} is no group of the operator's {FILE}" for group in unknown_groups(after.entries, file)]
    return notes


def _host(rule: Rule) -> str:
    if rule.host == ANY:
        return "every host on the internet"
    if rule.host.startswith("*."):
        return f"every host below {rule.host[2:]}"
    return rule.host


def _ports(rule: Rule) -> str:
    if not rule.ports:
        return "every port"
    return f"port{'s' if len(rule.ports) > 1 else ''} {' and '.join(map(str, rule.ports))}"


def _unicode(host: str) -> str:
    """Return the name in its own script, quoted; "" if it has none, or no valid one."""
    labels = host.split(".")
    if not any(label.startswith("xn--") for label in labels):
        return ""
    try:
        name = ".".join(
            label[4:].encode("ascii").decode("punycode") if label.startswith("xn--") else label for label in labels
        )
        name.encode("utf-8")
    except (UnicodeError, ValueError, OverflowError):
        return "not valid"
    return _text(name)


def _text(text: str) -> str:
    """Return a quoted text. What has no ink, or turns the direction of the line, is escaped."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in quoted)

"""The changed settings of a proposal as rows of words. Pure.

The words are those of `hive diff`, which leave nothing out; a row only sets one of them out in columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from api.ui.pages.needs_you.labels import ALLOW, MODEL, label_of
from meta.agent_toml.changes import MORE

_NEW, _ALL = "May newly reach", "May reach"
_SHORT = 120
_REACH = ("it may newly reach:", "it may reach:", "it may no longer reach:")


@dataclass(frozen=True, slots=True)
class Setting:
    """One changed setting. `old` and `new` are values in short, `same` the entries of a list that stay.

    `lines` are the words of a change that is too long for that, each with its sign. `more`: it gives rights.
    """

    label: str
    old: str = ""
    new: str = ""
    same: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    more: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """All changed settings, the model first, then those that give rights, and the notes that belong to none of them."""

    rows: tuple[Setting, ...]
    notes: tuple[str, ...]


def settings_of(triples: Sequence[tuple[str, str, str]], words: Sequence[str]) -> Settings:
    """Return the settings of a diff: `triples` are (key, before, after), `words` the same in words, nothing cut."""
    known = {key: (before, after) for key, before, after in triples}
    rows: list[Setting] = []
    notes: list[str] = []
    for text in words:
        word, more = text.removeprefix(MORE), text.startswith(MORE)
        key = word.partition(":")[0]
        if word.startswith(_REACH):
            rows.append(_reach(word, more))
        elif key in known:
            rows.append(_row(key, *known[key], word, more))
        elif ": " in word.partition("\n")[0] and " " not in key:
            head, _, rest = word.partition(":")
            rows.append(Setting(label_of(head), new=rest.strip(), more=more))
        else:
            notes.append(text)
    return Settings(tuple(sorted(_once(rows), key=lambda row: (row.label != MODEL, not row.more))), tuple(notes))


def _once(rows: Sequence[Setting]) -> Iterator[Setting]:
    """Yield the rows without that of new rules for hosts, if the row of what it may newly reach says the same."""
    reach = {_host(host) for row in rows if row.label in (_NEW, _ALL) for host in row.added}
    for row in rows:
        if row.label != ALLOW or row.removed or not reach.issuperset(map(_host, row.added)):
            yield row


def _host(rule: str) -> str:
    return rule.partition(" (")[0].removesuffix(":443")


def _row(key: str, before: str, after: str, word: str, more: bool) -> Setting:
    old, new = _entries(before), _entries(after)
    if old is not None and new is not None and (set(old) != set(new)):
        return Setting(
            label_of(key),
            same=tuple(entry for entry in new if entry in old),
            added=tuple(entry for entry in new if entry not in old),
            removed=tuple(entry for entry in old if entry not in new),
            more=more,
        )
    if "\n" in word or len(word) > 2 * _SHORT:
        head, _, rest = word.partition("\n")
        return Setting(label_of(key), lines=tuple(rest.split("\n")) if rest else (head,), more=more)
    values = word.partition(":")[2].strip()
    old_word, arrow, new_word = values.partition(" -> ")
    if not arrow or " -> " in new_word:  # a value that has an arrow itself stands as it is
        return Setting(label_of(key), new=values, more=more)
    return Setting(label_of(key), old=_plain(old_word), new=_plain(new_word), more=more)


def _reach(word: str, more: bool) -> Setting:
    head, *lines = word.split("\n")
    hosts = tuple(line.strip()[2:] for line in lines)
    label = _ALL if head == "it may reach:" else _NEW
    if head == "it may no longer reach:":
        return Setting("May no longer reach", removed=hosts)
    return Setting(label, added=hosts, more=more)


def _entries(value: str) -> tuple[str, ...] | None:
    try:
        entries = json.loads(value or "[]")
    except (ValueError, RecursionError):
        return None
    return tuple(map(str, entries)) if isinstance(entries, list) else None


def _plain(value: str) -> str:
    """Return a value without the quotation marks of JSON around it, if it has no others."""
    inner = value[1:-1]
    return inner if len(value) > 2 and value[0] == value[-1] == '"' and not set(inner) & set('"\\') else value

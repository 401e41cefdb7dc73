"""A call of a tool in a line: its name, its argument, its result in a few words, and the change that it makes. Pure.

Arguments are JSON that an agent wrote. Nothing of it is trusted to have a form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.ui.diff.edits import edit_diff
from api.ui.diff.values import FileDiff
from api.ui.numbers import plural
from api.ui.times import span
from api.ui.transcript.items import Call
from meta.text import show_invisible

ARGUMENT_MOST = 240
"""Characters of the argument that stand beside the name. The stylesheet cuts to the width there is."""
NAME_MOST = 60
EDITS_MOST = 20
"""Edits of one call that are shown as diffs."""
PARSE_MOST = 2**17
"""Characters of arguments that are read. The harness cuts an event at 64 KiB."""
COMPARED = 8_000
"""Characters of the two texts of an edit up to which a page compares them at once; longer ones when it is opened."""
MINUS = "\u2212"
_FIRST = ("command", "file_path", "notebook_path", "pattern", "query", "url", "path", "description", "prompt")
"""Arguments that say best what a call is about, in this order."""
_REFUSED = ("-is-not-on-the-list-of-", "-is-beyond-the-ceiling-of-")
"""Words of the phrases with which hive's way out refuses a connection."""
_EXIT = re.compile(r"\s*(?:Error: )?Exit code (\d{1,3})\b")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a call in words. `kind` is muted, warn or bad."""

    words: str
    kind: str = "muted"


def arguments(call: Call) -> Mapping[str, Any]:
    """Return the arguments of a call, {} if they are no JSON object."""
    if not call.arguments.startswith("{") or len(call.arguments) > PARSE_MOST:
        return {}
    try:
        value = json.loads(call.arguments)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def argument(call: Call) -> str:
    """Return the argument that says what the call is about, on one line."""
    given = arguments(call)
    text = next((given[key] for key in _FIRST if isinstance(given.get(key), str) and given[key].strip()), None)
    if text is not None and text == given.get("pattern") and isinstance(given.get("path"), str):
        text = f"{text} in {given['path']}"
    if text is None:
        texts = (value for value in given.values() if isinstance(value, str) and value.strip())
        text = next(texts, "" if call.arguments in ("", "{}") else call.arguments)
    return line(text, ARGUMENT_MOST)


def line(text: str, most: int) -> str:
    """Return the beginning of a text on one line, with what is invisible made visible."""
    one = " ".join(show_invisible(text[: 4 * most]).split())
    return one if len(one) <= most else f"{one[: most - 1]}…"


def outcome(call: Call) -> Outcome:
    """Return how a call ended."""
    if call.ended_at is None:
        return Outcome("no result", "warn") if call.lost else Outcome("")
    took = call.ended_at - call.at
    after = f" · {span(took)}" if 0 < took < 100_000 else ""
    if any(phrase in call.output for phrase in _REFUSED):
        return Outcome("refused by the network rules", "warn")
    if call.failed:
        exit_code = _EXIT.match(call.output)
        return Outcome(f"failed{f', exit {exit_code[1]}' if exit_code else ''}{after}", "bad")
    changed = edits(call)
    if changed:
        added, removed = sum(each.added for each in changed), sum(each.removed for each in changed)
        return Outcome(f"+{added} {MINUS}{removed}{after}")
    return Outcome(f"{_lines(call.output)}{after}")


def _lines(output: str) -> str:
    text = output.rstrip("\n")
    count = text.count("\n") + 1 if text.strip() else 0
    return plural(count, "line") if count else "no output"


def edits(call: Call, most: int = COMPARED) -> tuple[FileDiff, ...]:
    """Return the changes of files that a call makes, () if it is no edit, failed, or is longer than `most`."""
    if call.failed or not call.arguments:
        return ()
    given = arguments(call)
    path = next((given[key] for key in ("file_path", "path", "notebook_path") if isinstance(given.get(key), str)), None)
    if path is None:
        return ()
    many = given.get("edits")
    pairs = [_pair(each) for each in many[:EDITS_MOST]] if isinstance(many, list) else [_pair(given)]
    found = [pair for pair in pairs if pair is not None]
    if not found and call.name.lower().startswith("write") and isinstance(given.get("content"), str):
        return (edit_diff(path, None, given["content"]),)
    if sum(len(old) + len(new) for old, new in found) > most:
        return ()
    return tuple(edit_diff(path, old, new) for old, new in found)


def _pair(given: object) -> tuple[str, str] | None:
    """Return the old and the new text of an edit."""
    if not isinstance(given, dict):
        return None
    for old, new in (("old_string", "new_string"), ("oldText", "newText"), ("old_text", "new_text")):
        before, after = given.get(old), given.get(new)
        if isinstance(before, str) and isinstance(after, str):
            return before, after
    return None

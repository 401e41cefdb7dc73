"""One more rule for `[network] allow` in the text of an agent.toml. Comments and layout stay as they are.

The edit is made in the text, and counts only if the parsed file then is the one before with exactly this rule more: a
form of TOML that is not foreseen here is refused, never written wrongly. So no second TOML library is needed.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from itertools import islice
from typing import Any

from meta.errors import BadInput

_HEADER = re.compile(r"^[ \t]*\[[ \t]*network[ \t]*\][^\n]*(?:\n|\Z)", re.MULTILINE)
_ALLOW = re.compile(r"^[ \t]*(?:network[ \t]*\.[ \t]*)?allow[ \t]*=[ \t]*\[", re.MULTILINE)
_INLINE = re.compile(r"^[ \t]*network[ \t]*=[ \t]*\{[^\n]*?\ballow[ \t]*=[ \t]*\[", re.MULTILINE)
_TOKEN = re.compile(r"\"\"\"(?:\\.|[^\\])*?\"\"\"|'''.*?'''|\"(?:\\.|[^\"\\\n])*\"|'[^'\n]*'|#[^\n]*|\s+|.", re.DOTALL)
"""A string, a comment, blanks, or one other character."""
_CANDIDATES = 8
"""Places that are tried: each costs a parse of the whole file, whose lines are an agent's."""
_BY_HAND = "add it by hand to `allow` of [network]: `hive edit` opens the file"


def with_rule(text: str, rule: str) -> str:
    """Return the text of an agent.toml with one more entry in `allow` of [network].

    Raise BadInput for a file that is not TOML, that has the rule, or that is written in an unforeseen form.
    """
    before = _parsed(text)
    network = before.get("network", {})
    allow = network.get("allow", []) if isinstance(network, dict) else None
    if not isinstance(allow, list):
        raise BadInput("agent.toml is not valid: network.allow is not a list", _BY_HAND)
    if rule in allow:
        raise BadInput(f"agent.toml has {rule} in network.allow already", "nothing to do")
    wanted = {**before, "network": {**network, "allow": [*allow, rule]}}
    for candidate in islice(_candidates(text, json.dumps(rule)), _CANDIDATES):
        try:
            if tomllib.loads(candidate) == wanted:
                return candidate
        except tomllib.TOMLDecodeError:
            continue
    raise BadInput("agent.toml is written in a form into which hive cannot add a rule", _BY_HAND)


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadInput(f"agent.toml is not TOML: {error}", "see https://toml.io; text needs quotes") from error


def _candidates(text: str, entry: str) -> Iterator[str]:
    """Yield what the text may become: in each list that could be the one, in a table without one, in a new table."""
    for pattern in (_ALLOW, _INLINE):
        for match in pattern.finditer(text):
            if (edited := _in_list(text, match.end(), entry)) is not None:
                yield edited
    for match in _HEADER.finditer(text):
        head = text[: match.end()]
        yield f"{head}{'' if head.endswith(chr(10)) else chr(10)}allow = [{entry}]\n{text[match.end() :]}"
    gap = "" if not text or text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
    yield f"{text}{gap}[network]\nallow = [{entry}]\n"


def _in_list(text: str, begin: int, entry: str) -> str | None:
    """Return the text with one more entry in the list whose first character is at `begin`; None without its end."""
    last, comma, close = begin, False, None
    for match in _TOKEN.finditer(text, begin):
        piece = match[0]
        if piece == "]":
            close = match.start()
            break
        if piece == "[" or piece == "{":
            return None
        if not piece.isspace() and not piece.startswith("#"):
            last, comma = match.end(), piece == ","
    if close is None:
        return None
    if last == begin:
        return f"{text[:begin]}{entry}{text[begin:]}"
    head = text[:last]
    end = text.find("\n", last)
    if end == -1 or end > close:
        return f"{head}{' ' if comma else ', '}{entry}{text[last:]}"
    line = head[head.rfind("\n") + 1 :]
    indent = line[: len(line) - len(line.lstrip(" \t"))]
    return f"{head}{'' if comma else ','}{text[last:end]}\n{indent}{entry},{text[end:]}"

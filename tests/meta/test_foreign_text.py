"""Every pattern and parser that reads foreign text is linear, or its text is bounded before it.

One row per place. `LONGEST` is what the place bounds its text to; each row has texts that make a careless pattern slow.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from api.cli.client import completion
from api.mcp import limits
from meta.agent_toml import script
from meta.agent_toml.shape import check_shape
from meta.errors import BadInput
from meta.git import message, objects
from meta.git.diff import _records, _whole
from meta.git.failures import _LOCKED
from meta.names import Sha
from meta.nix import complaints
from meta.proposed.quarantine.repo import explain
from meta.text import one_line, scrub
from meta.wire.agent import AGENT_REQUEST
from meta.wire.codec import MAX_VALUES, check_values, decode
from reconciler.upkeep.backups import packing

TAIL = 32 * 1024
"""Bytes of stderr that are kept of two programs."""

MIB = 2**20
READERS: dict[str, tuple[Callable[[str], object], int]] = {
    "scrub": (scrub, MIB // 4),
    "one_line": (one_line, MIB // 4),
    "decode": (message.decode, MIB),
    "nix: summary": (lambda text: complaints.summary(text), TAIL),
    "nix: passes": (lambda text: complaints.passes(text, network=True), TAIL),
    "nix: memory": (complaints.is_memory, TAIL),
    "nix: remedy": (lambda text: complaints.remedy(text, "/nix/store"), TAIL),
    "nix: hints": (lambda text: complaints._HINTS.sub("", text), TAIL),
    "nix: error": (complaints._ERROR.search, TAIL),
    "nix: build error": (complaints._BUILD_ERROR.search, TAIL),
    "git: locked": (_LOCKED.search, TAIL),
    "git: explain": (lambda text: explain(text, "HEAD", Path("/x")), TAIL),
    "git: commit": (lambda text: objects._headers(text.encode()), 2 * MIB),
    "git: headers of a patch": (lambda text: _whole((), text.encode()), MIB),
    "toml: shape": (lambda text: check_shape(text.encode(), "agent.toml"), 262_144),
    "script: placeholders": (lambda text: script.fill(text, {}), 262_144),
    "mcp: head": (lambda text: limits._HEAD.match(text.encode()), 65_536),
    "mcp: tail": (lambda text: limits._TAIL.search(text.encode()), 65_536),
    "backup: logins": (lambda text: packing._LOGIN.sub("", text), TAIL),
    "completion": (lambda text: completion._UNSAFE.sub(" ", text), TAIL),
}
PIECES = [
    "\n",
    " ",
    "\t",
    "/a",
    "://",
    "\x1b]",
    "\x1b[0",
    "bearer ",
    "sk-ant-",
    "A: ",
    "{a",
    "{{",
    '"',
    "'",
    "\\",
    ",",
    "(use '--show-trace'",
]
PIECES += [
    "error:",
    "object file ",
    "Unable to create '",
    "diff --git a b\n",
    "while fetching the input '",
    "«git+",
    '{"id":1',
    "token=",
]


@pytest.mark.parametrize("name", READERS)
def test_no_text_of_the_longest_size_is_slow(name: str) -> None:
    reader, longest = READERS[name]
    for piece in PIECES:
        text = piece * (longest // len(piece))
        begun = time.process_time()
        with contextlib.suppress(BadInput, ValueError):
            reader(text)
        assert time.process_time() - begun < 1.5, piece


@pytest.mark.parametrize("piece", ["[],", "{},", "0,", '"",', '{"a":[]},'])
def test_json_of_very_many_values_is_refused_unread(piece: str) -> None:
    line = '{"cmd":[' + piece * (MAX_VALUES + 1) + "0]}"
    with pytest.raises(BadInput, match="values"):
        decode(AGENT_REQUEST, line)


def test_brackets_and_commas_in_a_text_are_no_values() -> None:
    check_values(json.dumps({"body": "[,{\\" + '"' + ",[{" * MAX_VALUES}))
    check_values(json.dumps({"body": ",[{" * MAX_VALUES}).encode())


def test_a_text_without_an_end_is_counted_in_linear_time() -> None:
    check_values('"' + r",[\"" * 2 * MAX_VALUES)
    check_values('"' + ",[" * MAX_VALUES + "\\")


def test_a_record_of_git_is_read_to_its_end() -> None:
    oid = "1" * 40
    [record], names = _records(f":100644 100644 {oid} {oid} M\0a\nb\0".encode())
    assert (record.paths, record.oids[0], names) == ((b"a\nb",), Sha(oid), f"{oid}\n".encode())

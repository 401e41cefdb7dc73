"""Odd JSON is read as serde reads it.

`odd.jsonl` was made like the vectors: mutated lines, put through the seeds' own types. 36,000 more of the kind
were compared when it was made.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.cli.commands.wire import answers
from meta.errors import BadInput
from meta.wire.codec import decode
from meta.wire.registry import adapters

DATA = Path(__file__).parent / "data"
ODD = [json.loads(line) for line in (DATA / "odd.jsonl").read_text(encoding="utf-8").splitlines()]
GOOD = [
    vector
    for vector in map(json.loads, (DATA / "vectors.jsonl").read_text(encoding="utf-8").splitlines())
    if "canonical" in vector
]
ALL = adapters()


def answer(name: str, text: str | bytes) -> str:
    line = text if isinstance(text, bytes) else text.encode()
    (said,) = answers([name.encode() + b" " + line + b"\n"])
    return said.decode()


def test_every_odd_line_is_read_or_refused_as_the_seeds_do() -> None:
    wrong = []
    for row in ODD:
        said = answer(row["type"], row["given"])
        if said[:3] != ("ok " if "canonical" in row else "err") or said[3:] != row.get("canonical", said[3:]):
            wrong.append((row, said))
    assert not wrong
    assert len(ODD) > 600
    assert sum("canonical" in row for row in ODD) > 150


@pytest.mark.parametrize(
    ("line", "canonical"),
    [
        ('AgentRequest {"cmd":"status","x":1,"x":2}', '{"cmd":"status"}'),
        ('AgentRequest ["send","a","b"]', '{"cmd":"send","to":"a","body":"b"}'),
        ('AgentRequest {"cmd":"cancel_loose_end","kind":{"question":null},"id":4}', None),
        ('AgentRequest {"cmd":"remind","message":"m","timing":[1,5]}', None),
        ('InboxRow [1,"a","b",2]', '{"id":1,"from":"a","body":"b","at":2}'),
        ('Message {"x":1e999,"from":"a","to":"b","body":"c"}', '{"from":"a","to":"b","body":"c"}'),
        ('pod.Method {"params":{"kind":0,"pod_name":"c"},"method":"pod_event"}', None),
    ],
)
def test_what_serde_takes_beyond_plain_objects_is_taken(line: str, canonical: str | None) -> None:
    name, _, text = line.partition(" ")
    said = answer(name, text)
    assert said.startswith("ok ")
    assert canonical in (None, said[3:])


@pytest.mark.parametrize(
    "line",
    [
        'AgentRequest {"cmd":"status","x":1e999}',
        'AgentRequest {"cmd":"status","x":"\\ud800"}',
        'AgentRequest {"cmd":0,"to":"a","body":"b"}',
        'AgentRequest ["send","a","b","c"]',
        'AgentRequest ["status",{}]',
        'ReminderTiming {"timing_type":0,"seconds":5}',
        'Approval {"id":1,"agent":"a","kind":{"spawn":{}},"commit_ref":"","requested_at":2,"status":"failed"}',
        'pod.Method {"method":"resume","params":{}}',
        'pod.Method {"method":"run","params":["x"]}',
        'pod.Method ["resume"]',
        'early.HelperEvent {"id":1,"agent":"a","commit_ref":"c","status":"denied"}',
        'AgentRequest {"cmd":"status"}\ufeff',
        '\ufeffAgentRequest {"cmd":"status"}',
        'Nope {"cmd":"status"}',
        "AgentRequest",
        "",
    ],
)
def test_what_serde_refuses_is_refused_on_one_line(line: str) -> None:
    (said,) = answers([line.encode() + b"\n"])
    assert said.startswith(b"err ")
    assert len(said) > 8
    assert b"\n" not in said


@given(st.sampled_from(sorted(ALL)), st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_whatever_the_bytes_are_each_line_has_one_answer(name: str, junk: bytes) -> None:
    (said,) = answers([name.encode() + b" " + junk.replace(b"\n", b"") + b"\n"])
    assert said[:3] in (b"ok ", b"err")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(GOOD), st.dictionaries(st.text("xyz", min_size=6, max_size=8), JSON, max_size=3), st.randoms())
@settings(max_examples=200, deadline=None)
def test_unknown_fields_and_the_order_of_fields_change_nothing(vector, more, random) -> None:  # type: ignore[no-untyped-def]
    pairs = [*json.loads(vector["given"]).items(), *more.items()]
    random.shuffle(pairs)
    assert answer(vector["type"], json.dumps(dict(pairs))) == f"ok {vector['canonical']}"


NUMBERS = (("U64", 0, 2**64 - 1), ("I64", -(2**63), 2**63 - 1), ("U32", 0, 2**32 - 1))
PLACES = {
    "U64": ("AgentRequest", '{"cmd":"recent","limit":%s}'),
    "I64": ("HostRequest", '{"cmd":"approve","id":%s}'),
    "U32": ("ManagerRequest", '{"cmd":"get_logs","agent":"a","lines":%s}'),
}


@given(
    st.sampled_from(NUMBERS), st.integers(-(2**65), 2**65) | st.sampled_from([-1, 0, 2**32, 2**63, 2**64, -(2**63) - 1])
)
@settings(max_examples=300, deadline=None)
def test_an_integer_passes_exactly_within_the_bounds_of_its_type(bounds: tuple[str, int, int], number: int) -> None:
    kind, least, most = bounds
    name, form = PLACES[kind]
    if least <= number <= most:
        assert answer(name, form % number) == f"ok {form % number}"
        return
    with pytest.raises(BadInput):
        decode(ALL[name], form % number)


@pytest.mark.parametrize("value", ['"3"', "true", "3.0", "3e0", "-0", "[3]", "{}", '""', "03", "+3", "0x3", "3.", ".3"])
@pytest.mark.parametrize("kind", sorted(PLACES))
def test_what_only_looks_like_an_integer_is_none(kind: str, value: str) -> None:
    name, form = PLACES[kind]
    assert answer(name, form % value).startswith("err ")


def test_only_an_option_may_be_null() -> None:
    assert answer("AgentRequest", '{"cmd":"recv","wait_seconds":null}') == 'ok {"cmd":"recv","wait_seconds":null}'
    for text in ('{"cmd":"ask","question":"q","multi":null}', '{"cmd":"recent","limit":null}'):
        assert answer("AgentRequest", text).startswith("err ")


def test_what_is_passed_over_without_being_kept_may_be_as_deep_as_it_likes() -> None:
    nested = '{"from":"a","to":"b","body":"c","x":' + "[" * 300 + "]" * 300 + "}"
    assert answer("Message", nested).startswith("ok ")
    assert answer("AgentRequest", '{"cmd":"status","x":' + "[" * 127 + "]" * 127 + "}").startswith("err ")

"""No agent.toml is read that a parser could be slow at, and what is read takes little time and memory."""

from __future__ import annotations

import contextlib
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta.agent_toml import shape
from meta.agent_toml.settings import parse_settings
from meta.agent_toml.shape import check_shape
from meta.errors import BadInput
from meta.proposed.settings import SMALL, read_settings


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (".".join(["a"] * 65) + " = 1", "65 parts in one key"),
        ("[" + ".".join(["a"] * 65) + "]", "65 parts in one key"),
        (" . ".join(['"a b"'] * 65) + " = 1", "65 parts in one key"),
        ("a = " + "[" * 17 + "]" * 17, "17 levels of brackets"),
        ("a = " + "{b = " * 17 + "1" + "}" * 17, "levels of brackets"),
        ("".join(f"k{number} = 1\n" for number in range(2049)), "2049 keys and tables"),
        ("[[a]]\n" * 1025, "keys and tables"),
        ("a = [" + "1," * 8193 + "]", "8193 items"),
        ("a = 0x" + "f" * 300, "302 bytes in one key or number"),
        ("k" * 300 + " = 1", "300 bytes in one key or number"),
        ("a = '" + "x" * 65_536 + "'", "a line has"),
        ("#" * 262_145, "262145 bytes are too long"),
        ("x = 1\na = 'x", "a string has no end .at line 2"),
        ('a = """x', "a string has no end"),
    ],
)
def test_a_text_out_of_shape_is_refused_by_its_name(text: str, what: str) -> None:
    with pytest.raises(BadInput, match=what):
        check_shape(text.encode(), "agent.toml")
    with pytest.raises(BadInput, match=what):
        parse_settings(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "label = 'a.b.c.d.e.f.g.h.i.j = [[[[[[[[[[[[[[[[[[[['",
        'prompt = """' + "a = [\n" * 5000 + '"""',
        'prompt = """say ""hello"" \\""" twice"""',
        "prompt = '''it''s '' fine''''",
        "# it's only a comment [[[[[[[[[[[[[[[[[[\nlabel = 'x'",
        'label = "a # b"',
    ],
)
def test_what_stands_in_texts_and_comments_does_not_count(text: str) -> None:
    parse_settings(text.encode())


SLOWEST = {
    "keys": "[mcp_servers.a.b.c.d.e.f]\n" + "".join(f"k{number}.a.a.a.a.a.a.a = 1\n" for number in range(2040)),
    "tables": "".join(f"[h{number}.a.a.a.a.a.a.a]\n" for number in range(2048)),
    "arrays": "a = [" + "[]," * 2040 + "]\n",
    "items": "a = [\n" + "1,\n" * 8192 + "]\n",
    "text": 'prompt = """' + "\\n\n" * 80_000 + '"""\n',
    "newlines": "\n" * 262_144,
    "quotes": "a = [" + "'',\n" * 8192 + "]",
}


@pytest.mark.parametrize("name", SLOWEST)
def test_the_slowest_text_within_the_bounds_takes_little_memory(name: str) -> None:
    text = SLOWEST[name].encode()
    check_shape(text, "agent.toml")
    tracemalloc.start()
    try:
        with contextlib.suppress(BadInput):
            parse_settings(text)
        assert tracemalloc.get_traced_memory()[1] < 24 * 2**20
    finally:
        tracemalloc.stop()


@given(st.text(st.sampled_from("\"'\\#[]{}=.,\n ab1")))
def test_any_text_is_checked_without_another_error(text: str) -> None:
    try:
        check_shape(text.encode(), "agent.toml")
    except BadInput:
        return


def test_the_check_is_linear_in_what_it_reads() -> None:
    for piece in ('"""', '\\"""', "'''", '"', "'", "#", '""" ', '"\\'):
        text = (piece * (262_144 // len(piece))).encode()
        begun = time.process_time()
        with contextlib.suppress(BadInput):
            check_shape(text.replace(b"#", b"#\n"), "agent.toml")
        assert time.process_time() - begun < 1


LONG = 'prompt = """' + "x\n" * SMALL + '"""\n'


async def test_a_long_file_gives_the_same_settings_through_the_process() -> None:
    text = (
        'label = "é"\n[limits]\nturn_seconds = 1.5\n[mcp_servers.a]\ncommand = ["x"]\n'
        '[[script]]\nsleep = 1\nreply = "one"\n[[script]]\nreply = "two"\nsleep = 2\n'
    )
    data = (LONG + text).encode()
    settings = await read_settings(data)
    assert settings == parse_settings(data)
    assert [rule.order for rule in settings.script] == [rule.order for rule in parse_settings(data).script]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("label = 1979-05-27", "label: must be text"),
        ("label = ", "not TOML: Invalid value"),
        ("limits.turn_seconds = inf", "must be a finite number"),
        ("lable = 'x'", "did you mean 'label'"),
        ("a = " + "[" * 17 + "]" * 17, "levels of brackets"),
    ],
)
async def test_a_long_file_gives_the_same_errors_through_the_process(text: str, what: str) -> None:
    with pytest.raises(BadInput, match=what):
        await read_settings((LONG + text + "\n").encode())
    with pytest.raises(BadInput, match=what):
        parse_settings((LONG + text + "\n").encode())


def test_the_limits_leave_room_for_every_setting() -> None:
    assert len(["mcp_servers", "a", "env", "KEY"]) * 2 <= shape.MAX_KEY_PARTS

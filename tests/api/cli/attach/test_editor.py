"""The line that is typed into `hive attach`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cli.attach.editor import Editor, Entered, Left, last_columns, width_of


def typed(*parts: bytes) -> Editor:
    editor = Editor()
    for part in parts:
        editor.feed(part)
    return editor


@pytest.mark.parametrize(
    ("keys", "text", "cursor"),
    [
        (b"hello", "hello", 5),
        (b"hello\x7f\x7f", "hel", 3),
        (b"ac\x1b[Db", "abc", 2),
        (b"bc\x01a\x05d", "abcd", 4),
        (b"bc\x1b[Ha\x1b[Fd", "abcd", 4),
        (b"abc\x1b[D\x1b[D\x1b[3~", "ac", 1),
        (b"one two  \x17three", "one three", 9),
        (b"one\x17", "", 0),
        (b"abc\x02\x0b", "ab", 2),
        (b"abc\x02\x15", "c", 0),
        (b"abc\x04\x02\x04", "ab", 2),
        (b"a\x1b[1;5Db\x1bq\x00\x07", "ab", 2),
        ("größe 日本".encode(), "größe 日本", 8),
        (b"a\xffb", "a\ufffdb", 3),
    ],
)
def test_the_keys_of_a_shell_edit_the_line(keys: bytes, text: str, cursor: int) -> None:
    editor = typed(keys)
    assert (editor.text, editor.cursor) == (text, cursor)


def test_keys_may_come_in_pieces() -> None:
    keys = "grün\x1b[D\x1b[3~x\x1b[200~a\nb\x1b[201~".encode()
    assert typed(*(bytes([byte]) for byte in keys)).text == typed(keys).text == "grüxa\nb"


def test_enter_ends_a_line_and_a_pasted_line_end_does_not() -> None:
    editor = Editor()
    assert editor.feed(b"one\rtwo\n\x1b[200~a\r\x03b\x1b[201~\r") == [Entered("one"), Entered("two"), Entered("a\nb")]
    assert editor.text == ""


def test_ctrl_c_leaves_and_so_does_ctrl_d_in_an_empty_line() -> None:
    assert Editor().feed(b"abc\x03") == [Left()]
    assert Editor().feed(b"\x04") == [Left()]
    assert Editor().feed(b"abc\x04") == []


def test_the_arrows_recall_earlier_lines_and_the_draft() -> None:
    editor = typed(b"one\rtwo\rtwo\rdra")
    seen = []
    for key in (b"\x1b[A", b"\x1b[A", b"\x1b[A", b"\x1b[B", b"\x1b[B", b"\x1b[B"):
        editor.feed(key)
        seen.append(editor.text)
    assert seen == ["two", "one", "one", "two", "dra", "dra"]


def test_a_line_that_was_not_sent_comes_back_unless_another_one_is_begun() -> None:
    editor = Editor()
    editor.put_back("again")
    assert editor.feed(b"\r") == [Entered("again")]
    editor.feed(b"new")
    editor.put_back("again")
    assert editor.text == "new"


@given(st.binary(max_size=200))
def test_no_bytes_break_the_line(data: bytes) -> None:
    editor = Editor()
    editor.feed(data)
    assert 0 <= editor.cursor <= len(editor.text)
    assert all(char.isprintable() or char in "\n\t" for char in editor.text)


def test_columns_are_counted_as_a_terminal_does() -> None:
    assert (width_of("abc"), width_of("日本"), width_of("e\u0301")) == (3, 4, 1)
    assert last_columns("ab日本", 5) == "b日本"
    assert last_columns("ab日本", 3) == "本"
    assert last_columns("ab", 5) == "ab"

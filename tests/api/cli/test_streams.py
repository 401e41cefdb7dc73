"""Streams that are full, closed or not in UTF-8: one line, the right exit code, and never a traceback."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
import unittest.mock
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from api.cli.client.exit_codes import Code
from api.cli.commands.man import leaves
from api.cli.main import main, parser
from api.cli.render import console
from api.cli.terminal import streams
from meta.errors import BadInput
from meta.names import AgentName
from tests.api.cli.words import words_of

if TYPE_CHECKING:
    from tests.api.conftest import Hive

ELSEWHERE = {"serve", "doctor", "audit", "restore", "shell", "agent-call", "answer", "attach", "wire canonical"}
"""Commands that print nothing here, or nothing for the second time, or go on for ever, or read lines from stdin."""
FULL = "hive: cannot write the output: No space left on device\n"


@contextlib.contextmanager
def full() -> Iterator[io.TextIOWrapper]:
    """A stdout on which nothing can be written."""
    stream = Path("/dev/full").open("w", encoding="utf-8")  # noqa: SIM115 - closing it fails too
    yield stream
    with contextlib.suppress(OSError):
        stream.close()


async def run(hive: Hive, words: list[str], out: object, err: object) -> int:
    """Run the whole program, as `hive` does, with these streams."""

    def program() -> int:
        with (
            unittest.mock.patch.dict(os.environ, hive.environment(), clear=True),
            unittest.mock.patch.multiple(sys, stdout=out, stderr=err, stdin=io.StringIO("")),
            pytest.raises(SystemExit) as ended,
        ):
            main(words)
        return int(ended.value.code or 0)

    async with asyncio.timeout(20):
        return await asyncio.to_thread(program)


async def test_a_full_stdout_is_one_line_and_code_1_for_every_command(
    hive: Hive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    group = parser()
    monkeypatch.setattr("api.cli.main.parser", lambda: group)
    for leaf in leaves(group):
        if leaf.name in ELSEWHERE:
            continue
        hive.fake.add(description="adds jq")
        words = words_of(leaf)
        printed, told = io.StringIO(), io.StringIO()
        code = await run(hive, words, printed, told)
        hive.fake.names = [AgentName(name) for name in ("alice", "manager")]
        hive.fake.shown.clear()
        hive.fake.add(description="adds jq")
        with full() as out:
            err = io.StringIO()
            again = await run(hive, words, out, err)
        if code == Code.OK and printed.getvalue():
            assert (again, FULL in err.getvalue()) == (Code.FAILED, True), (words, err.getvalue())
        assert "Traceback" not in err.getvalue(), words
        assert again in set(Code), words


async def test_a_full_stderr_changes_no_exit_code(hive: Hive) -> None:
    for words, code in ((["logs", "nobody"], Code.NOT_FOUND), (["nonsense"], Code.USAGE), (["list"], Code.OK)):
        with full() as err:
            assert await run(hive, words, io.StringIO(), err) == code


async def test_another_encoding_shows_escapes_and_json_stays_the_same_value(hive: Hive) -> None:
    await hive.fake.broker.send("alice", "operator", "grün ✓ 日本 \u202e")
    for encoding in ("ascii", "latin-1", "utf-8"):
        for words in (["inbox"], ["inbox", "--json"], ["status"], ["diff", "alice"]):
            raw = io.BytesIO()
            out = io.TextIOWrapper(raw, encoding=encoding)
            err = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
            assert await run(hive, words, out, err) == Code.OK, (encoding, words)
            text = raw.getvalue().decode(encoding)
            if words == ["inbox", "--json"]:
                assert json.loads(text)[0]["body"] == "grün ✓ 日本 \u202e"
            if words == ["inbox"] and encoding == "ascii":
                assert "gr\\xfcn \\u2713 \\u65e5\\u672c \\u202e" in text
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="ascii"), io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert await run(hive, ["logs", "grün"], out, err) == Code.USAGE


@pytest.mark.parametrize(
    ("shell", "code", "out", "err"),
    [
        (">/dev/full", 1, "", "cannot write the output: No space left"),
        (">&-", 1, "", "cannot write the output: Bad file descriptor"),
        ("2>&-", 0, "alice\nmanager\n", ""),
        ("<&- 2>/dev/full", 0, "alice\nmanager\n", ""),
        ("| head -n 1", 0, "alice\n", ""),
    ],
)
async def test_what_a_shell_does_to_the_streams(hive: Hive, shell: str, code: int, out: str, err: str) -> None:
    script = f"set -o pipefail; {sys.executable} -m api.cli.main list {shell}"
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        script,
        env=hive.environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, told = await process.communicate()
    assert (process.returncode, printed.decode()) == (code, out), told
    assert err in told.decode()
    assert len(told.decode().splitlines()) <= 2


@pytest.mark.parametrize(
    ("data", "where"), [(b"\xff", "byte 0xff at position 0"), (b"gr\xfcn", "byte 0xfc at position 2")]
)
@pytest.mark.parametrize("words", [["send", "alice", "-"], ["answer", "1", "-"], ["edit", "alice", "--file", "-"]])
async def test_bytes_that_are_no_utf8_on_stdin_are_named_in_one_line(
    hive: Hive, monkeypatch: pytest.MonkeyPatch, words: list[str], data: bytes, where: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
    code, out, err = await hive.hive(*words)
    assert (code, out) == (Code.USAGE, "")
    assert f"hive: stdin is not UTF-8: {where}\n" in err


def test_a_stdin_without_an_end_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST", 10)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"x" * 100)))
    with pytest.raises(BadInput, match="more than 10 B"):
        streams.read_stdin()


def test_a_closed_stdin_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with os.fdopen(os.open(os.devnull, os.O_WRONLY), "r") as closed:
        monkeypatch.setattr("sys.stdin", closed)
        with pytest.raises(BadInput, match="cannot read stdin: Bad file descriptor"):
            streams.read_stdin()


@pytest.mark.parametrize("words", [["diff", "alice", "\udcff..1"], ["edit", "alice", "--from", "\udcff"]])
async def test_an_argument_that_is_no_text_is_an_error_in_one_line(hive: Hive, words: list[str]) -> None:
    code, _, err = await hive.hive(*words)
    assert (code, "is not text in UTF-8" in err) == (Code.USAGE, True), err


def test_the_spaces_of_a_path_stay_in_a_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    console.write_error(BadInput("one\ntwo", "`rm '/a  b'`\n"))
    assert capsys.readouterr().err == "hive: one two\n  try: `rm '/a  b'`\n"

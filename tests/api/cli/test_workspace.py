"""`hive workspace`: what comes out of a container is bounded."""

from __future__ import annotations

import os

import pytest

from api.cli.client.exit_codes import NoAnswer, Unreachable, code_of
from api.cli.commands import workspace
from api.cli.commands.workspace import output_of, parse
from meta.errors import Conflict, HiveError, NewerState, NotFound, PermanentError


def test_what_a_program_prints_is_returned_and_its_stderr_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        os.write(1, b"out")
        os.write(2, b"\x1b[31merr")
        return 0

    assert output_of(work) == b"out"
    assert capfd.readouterr() == ("", "")


def test_an_error_of_hive_comes_back_with_its_remedy() -> None:
    def work() -> int:
        raise Conflict("alice is not running", "start it")

    with pytest.raises(Conflict, match="alice is not running") as error:
        output_of(work)
    assert error.value.hint == "start it"


@pytest.mark.parametrize("kind", [NotFound, NoAnswer, Unreachable, NewerState, PermanentError])
def test_an_error_of_hive_keeps_its_exit_code(kind: type[HiveError]) -> None:
    def work() -> int:
        raise kind("it does not work", "try it")

    with pytest.raises(HiveError) as error:
        output_of(work)
    assert code_of(error.value) == code_of(kind("", ""))


def test_a_flood_and_a_silence_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def flood() -> int:
        while True:
            os.write(1, b"x" * 65_536)

    def silence() -> int:
        os.read(os.pipe()[0], 1)
        return 0

    monkeypatch.setattr(workspace, "MOST", 1_000_000)
    with pytest.raises(PermanentError, match="too much"):
        output_of(flood)
    monkeypatch.setattr(workspace, "SECONDS", 0.05)
    with pytest.raises(PermanentError, match="printed nothing"):
        output_of(silence)


def test_a_repo_that_is_not_there_has_the_reason_of_the_harness() -> None:
    rows = [{"path": "tools", "problem": workspace.ABSENT}, {"path": "other", "problem": ""}]
    reported = {"tools": {"path": "tools", "state": "failed", "text": "no `way`"}}
    first, second = workspace.explained(rows, reported, "alice")
    assert first["problem"] == """it is not there: "failed", it says: "no 'way'\""""
    assert second == rows[1]


def test_a_repo_that_nobody_named_is_not_found() -> None:
    with pytest.raises(NotFound, match="alice has no repo nope"):
        workspace.explained([{"path": "nope", "problem": workspace.ABSENT}], {}, "alice")


@pytest.mark.parametrize("data", [b"", b"x", b"[" * 100_000, b"5"])
def test_what_is_no_answer_names_an_older_harness(data: bytes) -> None:
    with pytest.raises(PermanentError) as error:
        parse(data)
    assert "restart it" in error.value.hint

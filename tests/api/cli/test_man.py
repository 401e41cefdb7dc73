"""Man pages: every command has one, and roff finds nothing wrong with any."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from api.cli import reference
from api.cli.commands.man import leaves, pages
from api.cli.main import execute, parser

REQUESTS = {".TH", ".SH", ".TP", ".B", ".BR", ".I", ".PP", ".nf", ".fi", '.\\"'}


def test_every_command_has_a_page_with_its_options_and_examples() -> None:
    found = pages(parser())
    assert set(found) == {"hive", *(f"hive-{leaf.name.replace(' ', '-')}" for leaf in leaves(parser()))}
    assert "\\-\\-wait" in found["hive-approve"]
    assert "$ hive approve 7 \\-\\-wait" in found["hive-approve"]
    assert ".BR hive\\-approve (1)" in found["hive"]


def test_every_command_has_a_heading_in_the_reference() -> None:
    lines = reference.page().splitlines()
    assert [leaf.name for leaf in leaves(parser()) if f"### hive {leaf.name}" not in lines] == []


def test_pages_use_only_requests_that_roff_has_and_no_stray_escape() -> None:
    for name, text in pages(parser()).items():
        assert text.startswith('.\\" made by'), name
        for line in text.splitlines():
            if line.startswith((".", "'")):
                assert line.split(" ", 1)[0] in REQUESTS, (name, line)
            assert not re.search(r"\\(?![-&efI\"])", line), (name, line)


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_groff_reads_the_pages_without_a_warning(tmp_path: Path) -> None:
    assert execute(["man", "--write", str(tmp_path)]) == 0
    files = sorted(str(path) for path in tmp_path.glob("*.1"))
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", *files], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(files) == len(list(leaves(parser()))) + 1


def test_one_page_is_printed_and_an_unknown_one_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["man", "approve"]) == 0
    assert ".TH HIVE\\-APPROVE 1" in capsys.readouterr().out
    assert execute(["man", "nonsense"]) == 3
    assert "there is no command nonsense" in capsys.readouterr().err

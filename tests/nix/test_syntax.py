"""Every .nix file of the repository parses, names no undefined variable, and is laid out plainly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.nix.evaluate import ROOT, Evaluator, NixFailed

FOLDERS = (ROOT / "nix", ROOT / "meta" / "templates", ROOT / "tests" / "nix")
FILES = [ROOT / "flake.nix", *sorted(path for folder in FOLDERS for path in folder.rglob("*.nix"))]


def test_every_nix_file_parses(nix: Evaluator) -> None:
    nix.run("nix-instantiate", "--parse", *FILES)


def test_a_file_with_an_undefined_variable_would_be_noticed(nix: Evaluator, tmp_path: Path) -> None:
    (tmp_path / "bad.nix").write_text("{ a = nowhere; }\n", encoding="utf-8")
    with pytest.raises(NixFailed, match="undefined variable 'nowhere'"):
        nix.run("nix-instantiate", "--parse", tmp_path / "bad.nix")


def test_no_line_ends_in_blanks_or_has_tabs_outside_a_text() -> None:
    for path in FILES:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert line == line.rstrip(), f"{path}:{number} ends in blanks"
            assert "\t" not in line.lstrip(" \t") and not line.startswith("\t"), f"{path}:{number} has a tab"


def test_every_nix_file_is_short_enough_to_read() -> None:
    for path in FILES:
        assert len(path.read_text(encoding="utf-8").splitlines()) < 400, path

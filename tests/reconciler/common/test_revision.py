"""hive's own revision: what was installed, and what its files say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reconciler.common.revision import PACKAGES, fingerprint, revision


def test_the_package_says_it_where_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIVE_REVISION", "abc")
    assert revision() == "abc"
    monkeypatch.delenv("HIVE_REVISION")
    assert re.fullmatch(r"\d+\.\d+\.\d+\+[0-9a-f]{12}", revision())
    assert revision() == revision()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for package in PACKAGES:
        (tmp_path / package / "inner").mkdir(parents=True)
        (tmp_path / package / "inner" / "a.py").write_text(f"# {package}\n")
    return tmp_path


def test_it_changes_with_every_file_that_hive_consists_of(home: Path) -> None:
    seen = {fingerprint(home)}
    (home / "meta/inner/a.py").write_text("# other\n")
    seen.add(fingerprint(home))
    (home / "meta/inner/a.py").rename(home / "meta/inner/b.py")
    seen.add(fingerprint(home))
    (home / "reconciler/new.sql").write_text("SELECT 1;\n")
    seen.add(fingerprint(home))
    assert len(seen) == 4


def test_it_does_not_change_with_what_python_makes_of_them_or_with_what_is_beside_them(home: Path) -> None:
    before = fingerprint(home)
    (home / "meta/__pycache__").mkdir()
    (home / "meta/__pycache__/a.cpython-311.pyc").write_bytes(b"x")
    (home / "meta/.a.py.swp").write_bytes(b"x")
    (home / "tests").mkdir()
    (home / "tests/a.py").write_text("")
    assert fingerprint(home) == before

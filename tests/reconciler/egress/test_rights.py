"""hive-egress gives up its capabilities, for it may be started by a daemon that is root."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
_GIVE_UP = """
from pathlib import Path
from reconciler.egress.rights import give_up_rights
give_up_rights()
print(Path("/proc/self/status").read_text())
try:
    Path({path!r}).read_text()
except PermissionError:
    print("closed")
"""


@pytest.mark.skipif(os.getuid() != 0, reason="an ordinary user has none to give up")
def test_root_without_its_rights_opens_no_file_of_another_user(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.write_text("secret")
    private.chmod(0o600)
    os.chown(private, 12345, 12345)
    argv = [sys.executable, "-P", "-c", _GIVE_UP.format(path=str(private))]
    done = subprocess.run(argv, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line]
    status = {line[0]: line[1] for line in lines if len(line) == 2}
    assert {status[f"Cap{each}:"] for each in ("Inh", "Prm", "Eff", "Amb")} == {"0" * 16}
    assert status["NoNewPrivs:"] == "1"
    assert ["closed"] in lines


def test_the_program_gives_them_up_before_it_reads_anything() -> None:
    text = (ROOT / "reconciler/egress/__main__.py").read_text(encoding="utf-8")
    assert text.index("    give_up_rights()") < text.index("lock_state(options.state)")

"""A daemon that is root of a user namespace with one uid, as in a rootless container."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.bwrap, pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")]
CHECKOUT = Path(__file__).parents[2]
LOOK = [sys.executable, "-m", "tests.support.rootless"]


def seen(*argv: str) -> dict[str, Any]:
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, timeout=50, check=True)
    return dict(json.loads(done.stdout))


def test_agents_run_under_the_one_uid_in_namespaces_of_their_own_and_the_note_says_what_is_not_separated() -> None:
    found = seen("unshare", "-Ur", *LOOK)
    assert found["inside"][:2] == ["0", "shut"]
    assert int(found["inside"][2]) < 8
    assert found["isolation"].startswith("bubblewrap")
    assert "every agent runs as uid 0" in found["uids"]
    wanted = "agents are separated by namespaces only, not by uid: this user namespace has one uid, and not 524288"
    assert wanted in found["notes"]


def test_where_user_namespaces_are_switched_off_the_switch_is_named() -> None:
    off = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    found = seen("unshare", "-Ur", "sh", "-c", off, "sh", *LOOK)
    assert found["isolation"].startswith("none: user namespaces are switched off")
    assert any("sysctl user.max_user_namespaces" in note for note in found["notes"])
    assert found["inside"] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be without a right of root's")
def test_the_hosts_root_without_the_right_to_mount_starts_no_agent() -> None:
    found = seen("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin", *LOOK)
    assert "no agent starts: it would be the host's root" in found["uids"]
    assert any("uid 0 is without CAP_SYS_ADMIN" in note for note in found["notes"])

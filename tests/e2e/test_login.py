"""The login of a coding agent, from the command line to the file in its home: with a stand-in for its CLI."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.names import AgentName
from tests.support.lab import Lab

ALICE = AgentName("alice")
CLI = Path(__file__).parents[1] / "support" / "login" / "claude"
SETTINGS = {"HIVE_HEALTH_DEADLINE": "30", "HIVE_AGENT_PROGRAMS": str(CLI)}
pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.full,
    pytest.mark.timeout(180),
    pytest.mark.lab(agents=("alice",), settings=SETTINGS, tiny=False),
]


def counts(lab: Lab) -> tuple[int, int]:
    """How often it was reported that alice needs a login, and that she has one."""
    return len(lab.events("agent_needs_login", "alice")), len(lab.events("agent_logged_in", "alice"))


def test_a_login_is_asked_for_given_kept_over_restarts_and_taken_away(lab: Lab, tmp_path: Path) -> None:
    file, code = lab.layout.agent_home(ALICE) / ".claude" / ".credentials.json", tmp_path / "code"
    code.write_text("good#topsecret\n")
    assert lab.deploy('runtime = "claude"\n')["state"] == "deployed"
    lab.until(lambda: lab.agent()["phase"] == "needs-login" and counts(lab) == (1, 0))
    lab.do("alice", "restart")
    lab.until(lambda: lab.agent()["phase"] == "needs-login")
    assert counts(lab) == (1, 0)

    done = lab.hive("login", "alice", "--code-file", str(code))
    assert (done.code, done.out.splitlines()[2]) == (0, "  https://claude.ai/oauth/authorize?z-1234567890")
    assert file.exists()
    lab.until(lambda: counts(lab) == (1, 1))
    lab.do("alice", "restart")
    lab.kill()
    lab.start()
    lab.until(lambda: lab.agent()["phase"] == "running")
    assert counts(lab) == (1, 1)

    assert lab.hive("logout", "alice").code == 0
    assert not file.exists()
    lab.until(lambda: counts(lab) == (2, 1))
    assert b"topsecret" not in lab.layout.database.read_bytes()
    assert "topsecret" not in lab.tail() + lab.hive("logs", "alice").out

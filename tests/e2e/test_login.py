"""The login of a coding agent, from the command line to the file in its home: with a stand-in for its CLI."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.names import AgentName
from tests.support.lab import Lab

ALICE = AgentName("alice")
CLI = Path(__file__).parents[1] / "support" / "login" / "claude"
SETTINGS = {
    "HIVE_HEALTH_DEADLINE": "30",
    "HIVE_AGENT_PROGRAMS": str(CLI),
    "HIVE_DEFAULT_RUNTIME": "claude",
    "HIVE_EGRESS_START": "true",  # without a way out it is not known whether a login is needed
}
pytestmark = [pytest.mark.bwrap, pytest.mark.timeout(120), pytest.mark.lab(agents=(), settings=SETTINGS, tiny=False)]


def reports(lab: Lab, asked: int, given: int) -> bool:
    """Return True once it was reported so often that alice needs a login, and that she has one. Never more often."""
    needs, has = len(lab.events("agent_needs_login", "alice")), len(lab.events("agent_logged_in", "alice"))
    assert needs <= asked
    assert has <= given
    return (needs, has) == (asked, given)


def restart_daemon(lab: Lab) -> None:
    """Restart the daemon, which then reports a missing login again without a pause of minutes."""
    lab.kill()
    lab.start()
    lab.settle()


def test_each_change_of_a_login_is_reported_once_over_restarts_of_either_side_a_logout_and_a_purge(
    lab: Lab, tmp_path: Path
) -> None:
    file, code = lab.layout.agent_home(ALICE) / ".claude" / ".credentials.json", tmp_path / "code"
    code.write_text("good#topsecret\n")
    lab.post("/api/agents/alice/spawn")
    lab.settle("alice")
    lab.until(lambda: lab.agent()["phase"] == "needs-login" and reports(lab, 1, 0))

    lab.do("alice", "restart")
    lab.until(lambda: lab.agent()["phase"] == "needs-login" and reports(lab, 1, 0))
    done = lab.hive("login", "alice", "--code-file", str(code))
    assert (done.code, done.out.splitlines()[2]) == (0, "  https://claude.ai/oauth/authorize?z-1234567890")
    assert file.exists()
    lab.until(lambda: lab.agent()["phase"] == "running" and reports(lab, 1, 1))

    lab.do("alice", "restart")
    restart_daemon(lab)
    lab.until(lambda: lab.hive("logout", "alice").code == 0)  # the link may not be back yet
    assert not file.exists()
    lab.until(lambda: lab.agent()["phase"] == "needs-login" and reports(lab, 2, 1))

    lab.do("alice", "destroy", purge=True)
    restart_daemon(lab)
    lab.post("/api/agents/alice/spawn")
    lab.settle("alice")
    lab.until(lambda: reports(lab, 3, 1))
    assert lab.hive("login", "alice", "--code-file", str(code)).code == 0
    lab.until(lambda: lab.agent()["phase"] == "running" and reports(lab, 3, 2))
    assert b"topsecret" not in lab.layout.database.read_bytes()
    assert "topsecret" not in lab.tail() + lab.hive("logs", "alice").out

"""`hive rebuild` is the reconcile verb: it makes a deleted file of an agent on the host again.

Not the marker of backend `local`: without it hive takes the container for that of another, and leaves it alone.
"""

from __future__ import annotations

import pytest

from meta.names import AgentName
from tests.support.lab import fresh_lab

ALICE = AgentName("alice")


@pytest.mark.bwrap
def test_each_deleted_file_of_an_agent_is_there_again_after_a_rebuild() -> None:
    with fresh_lab("q", {"HIVE_RESYNC": "600"}) as lab:
        lab.spawn("alice")
        records = lab.layout.backend("local") / "alice"
        remote = lab.layout.proposed_config(ALICE) / ".git/config"
        for path in (records / "settings.json", lab.layout.mcp_socket(ALICE), remote):
            assert path.exists(), path
            path.unlink()
            if path == remote:
                path.write_text("[core]\n\tbare = false\n\trepositoryformatversion = 0\n", encoding="ascii")
            lab.do("alice", "rebuild")
            assert path.exists(), path
        assert "/applied/alice/.git" in remote.read_text(encoding="utf-8")
        assert lab.agent("alice")["phase"] == "running"

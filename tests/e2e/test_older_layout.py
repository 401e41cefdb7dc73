"""A hive that starts beside agents of an older one: these are held and named, the others go on, nothing is wiped."""

from __future__ import annotations

import pytest

from meta.names import AgentName
from tests.support import older_layout
from tests.support.lab import fresh_lab


@pytest.mark.bwrap
def test_an_agent_of_an_older_hive_is_held_and_named_and_the_others_go_on() -> None:
    bob = AgentName("bob")
    with fresh_lab("o") as lab:
        lab.spawn("alice")
        lab.kill()
        folder = older_layout.make(lab.layout, bob)
        before = {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
        lab.start()
        lab.deploy('label = "two"\n')
        row = lab.agent("bob")
        assert row["phase"] == "damaged"
        assert any("layout of an older hive" in line for line in row["conditions"])
        said = lab.hive("spawn", "bob")
        assert said.code != 0
        assert "older hive" in said.err
        doctor = lab.hive("doctor")
        assert f"{folder} has the layout of an older hive" in doctor.out
        after = {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
        assert after == before
        login = lab.layout.agent_home(bob) / ".claude/.credentials.json"
        assert login.read_text(encoding="utf-8") == older_layout.LOGIN

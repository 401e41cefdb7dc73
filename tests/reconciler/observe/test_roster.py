"""Which agents exist for others, and what tells one from an earlier agent of its name."""

from __future__ import annotations

from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha
from reconciler.observe.roster import Roster

ALICE = AgentName("alice")


def deploy(id: int, kind: DeployKind, at: int = 5) -> Deploy:
    return Deploy(ALICE, ProposalId(id), kind, TagState.DEPLOYED, Sha(f"{id:040x}"), None, "", "", "", at, "root")


def test_the_identity_of_an_agent_is_its_newest_spawn_and_unknown_before_its_deploys_are() -> None:
    roster = Roster(dict)
    assert roster.identity(ALICE) == ""
    spawn, change = deploy(1, DeployKind.SPAWN), deploy(2, DeployKind.APPLY_COMMIT)
    roster.note(ALICE, [spawn])
    first = roster.identity(ALICE)
    roster.note(ALICE, [spawn, change])
    assert roster.identity(ALICE) == first
    roster.note(ALICE, [])  # its repo cannot be found: it is the same agent
    assert roster.identity(ALICE) == first
    roster.note(ALICE, [spawn, change, deploy(3, DeployKind.SPAWN)])
    assert roster.identity(ALICE) != first
    roster.note(ALICE, [deploy(1, DeployKind.SPAWN, at=6)])  # purged, and born again from the same commit
    assert roster.identity(ALICE) not in ("", first)


def test_an_agent_without_a_spawn_in_its_tags_has_an_identity_too() -> None:
    roster = Roster(dict)
    roster.note(ALICE, [])
    assert roster.identity(ALICE) == "unborn"

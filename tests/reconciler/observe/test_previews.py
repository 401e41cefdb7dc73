"""Previews that ended at a limit: tried again with a longer wait each time, a few times, or when somebody asks."""

from __future__ import annotations

from pathlib import Path

from meta.approval import Binding
from meta.layout import Layout
from meta.names import AgentName, ProposalId, Sha
from reconciler.observe.previews import Previewed, Previews
from reconciler.plan.revisions import revision_of

ALICE, ONE, TWO = AgentName("alice"), ProposalId(1), ProposalId(2)
SHOWN = Binding(Sha("1" * 40), "", "", "", "s")


def previews(folder: Path) -> Previews:
    return Previews(Layout(folder / "s", folder / "r"))


def test_one_that_is_to_be_tried_again_is_settled_only_until_then(tmp_path: Path) -> None:
    kept = previews(tmp_path)
    kept.write(ALICE, ONE, Previewed(SHOWN, complaint="too long", tries=1, again_at=100.0), frozenset({ONE}))
    kept.write(ALICE, TWO, Previewed(SHOWN, complaint="wrong"), frozenset({ONE, TWO}))
    for found in (kept, previews(tmp_path)):  # also after a restart
        assert found.settled(ALICE, 99.0) == {ONE, TWO}
        assert found.settled(ALICE, 100.0) == {TWO}


def test_one_that_somebody_wants_anew_is_gone_from_memory_and_disk(tmp_path: Path) -> None:
    kept = previews(tmp_path)
    kept.write(ALICE, ONE, Previewed(SHOWN, complaint="too long"), frozenset({ONE}))
    kept.drop(ALICE, ONE)
    assert dict(kept.of(ALICE)) == dict(previews(tmp_path).of(ALICE)) == {}
    kept.drop(ALICE, ONE)


def test_one_on_other_shared_inputs_than_today_is_made_again(tmp_path: Path) -> None:
    kept, shown = previews(tmp_path), Binding(Sha("1" * 40), "a" * 40, "b" * 40, "/x.drv", "s")
    kept.write(ALICE, ONE, Previewed(shown), frozenset({ONE}))
    today, other = revision_of("b" * 12, "a" * 12), revision_of("b" * 12, "c" * 12)
    assert kept.settled(ALICE, 1.0, today) == {ONE}
    assert kept.settled(ALICE, 1.0, "") == {ONE}, "not known yet"
    assert kept.settled(ALICE, 1.0, other) == set()

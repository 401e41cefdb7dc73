"""Which previews are made again: those that ended at a limit, are wanted anew, or show what no build would give now."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meta.approval import Binding
from meta.layout import Layout
from meta.names import AgentName, ProposalId, Sha
from meta.nix.summary import FORM, Summary
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


def test_one_for_other_shared_inputs_than_today_is_made_again(tmp_path: Path) -> None:
    kept = previews(tmp_path)
    today, other = revision_of("b" * 12, "a" * 12), revision_of("b" * 12, "c" * 12)
    kept.write(ALICE, ONE, Previewed(SHOWN), frozenset({ONE}), today)
    assert kept.settled(ALICE, 1.0, today) == {ONE}
    assert kept.settled(ALICE, 1.0, "") == {ONE}, "not known yet"
    assert kept.settled(ALICE, 1.0, other) == set()


def test_one_of_an_older_form_of_summaries_is_made_again(tmp_path: Path) -> None:
    kept = previews(tmp_path)
    kept.write(ALICE, ONE, Previewed(SHOWN), frozenset({ONE}), "today")
    path = Layout(tmp_path / "s", tmp_path / "r").preview(ALICE, ONE)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"form": FORM - 1}))
    for revision in ("today", ""):
        assert previews(tmp_path).settled(ALICE, 1.0, revision) == set()


revisions = st.sampled_from(["", "1", "2", "1, nixpkgs a", "sha256-x"])
shown = st.builds(Binding, st.just(SHOWN.commit), revisions, revisions, st.sampled_from(["", "/x.drv"]), st.just("s"))
summaries = st.none() | st.builds(Summary, form=st.integers(0, FORM + 1))


@given(st.builds(Previewed, shown, summary=summaries, revision=revisions, form=st.integers(0, FORM)), revisions)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
def test_one_is_asked_for_at_most_once_under_one_revision_whatever_it_shows(
    tmp_path: Path, previewed: Previewed, revision: str
) -> None:
    kept = previews(tmp_path)
    kept.write(ALICE, ONE, previewed, frozenset({ONE}), revision)
    for found in (kept, previews(tmp_path)):  # also after a restart
        assert found.settled(ALICE, 1.0, revision) == {ONE}

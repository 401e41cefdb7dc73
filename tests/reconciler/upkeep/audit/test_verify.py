"""`verify`: what does not fit between events, tags and meta is found, and what fits is not complained about."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from dataclasses import asdict
from pathlib import Path

import pytest

from meta.applied import tags
from meta.applied.repo import Applied
from meta.desired.repo import MetaRepo
from meta.errors import BadInput, NotFound
from meta.git.message import encode
from meta.git.objects import tag
from meta.git.transaction import ABSENT, RefChange
from meta.layout import Layout
from meta.model import TagState
from meta.names import ProposalId, Sha
from reconciler.upkeep.audit import verify
from reconciler.upkeep.audit.verify import Report
from tests.support.hive_state import ALICE, AT, BY, ONE, make, propose, propose_edit


@pytest.fixture
async def layout(tmp_path: Path) -> Layout:
    return await make(tmp_path)


def rules(report: Report) -> list[tuple[str, str, int | None]]:
    return [(finding.level, finding.rule, finding.id) for finding in report.findings]


async def sha_of(layout: Layout) -> Sha:
    found = await Applied(layout, ALICE).main()
    assert found is not None
    return found


async def set_tag(layout: Layout, name: str, sha: Sha, said: dict[str, str], *, old: bool = False) -> None:
    """A tag, as somebody with the means of hive would write it."""
    made = tag(name, sha, encode(name, trailers=said), AT)
    change = RefChange(f"refs/tags/{name}", new=made.id, old=None if old else ABSENT)
    await Applied(layout, ALICE).repo.transaction([change], [made])


async def drop(layout: Layout, *names: str) -> None:
    changes = [RefChange(f"refs/tags/{name}", new=ABSENT) for name in names]
    await Applied(layout, ALICE).repo.transaction(changes)


def sql(layout: Layout, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(layout.database, isolation_level=None)) as database:
        database.execute(statement)


async def test_a_database_that_was_set_aside_is_a_warning_and_no_fault(layout: Layout) -> None:
    (layout.state / "hive.db.corrupt-20260101T000000Z").touch()
    report = await verify.verify(layout)
    assert rules(report) == [("warning", "set-aside", None)]
    assert (report.faults, report.warnings) == (0, 1)


async def test_a_hive_in_good_order_has_no_finding_and_says_who_approved_what(layout: Layout) -> None:
    report = await verify.verify(layout)
    assert rules(report) == []
    assert report.faults == 0
    sha = await sha_of(layout)
    assert [(each.id, each.by, each.seen, each.sha, each.state) for each in report.approvals] == [
        (0, BY, sha, sha, "deployed"),
        (1, BY, sha, sha, "deployed"),
    ]
    assert report.events == report.heads.event > 5


async def test_it_changes_nothing_and_needs_no_lock(layout: Layout) -> None:
    def everything() -> dict[str, tuple[float, bytes]]:
        paths = [path for path in layout.state.rglob("*") if path.is_file()]
        return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}

    before = everything()
    await verify.verify(layout)
    assert everything() == before


async def test_a_changed_event_is_found(layout: Layout) -> None:
    sql(layout, "UPDATE events SET data = replace(data, 'uid 1000', 'uid 1001') WHERE kind = 'proposal_approved'")
    found = rules(await verify.verify(layout))
    assert found[0][:2] == ("fault", "chain")
    assert ("fault", "event", 1) in found


async def test_an_event_about_a_tag_that_is_not_there_is_found_unless_it_was_taken_back(layout: Layout) -> None:
    insert = "INSERT INTO events (at, kind, agent, data) VALUES (1, '{}', 'alice', '{{\"id\": 9}}')"
    sql(layout, insert.format("proposal_approved"))
    assert ("fault", "event", 9) in rules(await verify.verify(layout))
    sql(layout, insert.format("card_reverted"))
    assert ("fault", "event", 9) not in rules(await verify.verify(layout))


async def test_a_deployed_tag_without_its_meta_commit_is_found(layout: Layout) -> None:
    repo = MetaRepo(layout).repo
    head = (await MetaRepo(layout).read()).desired.head
    parent = (await repo.commit(head)).parents[0]
    await repo.transaction([RefChange("refs/heads/main", new=parent)])
    report = await verify.verify(layout)
    assert rules(report) == [("fault", "no-commit", 1)]
    assert head[:12] in report.findings[0].text


async def test_a_deployed_tag_that_names_the_commit_of_another_id_is_found(layout: Layout) -> None:
    first = next(entry for entry in await MetaRepo(layout).log() if entry.id == 0)
    said = {tags.BY: "hive", tags.META: first.commit}
    await set_tag(layout, "deployed/1", await sha_of(layout), said, old=True)
    assert rules(await verify.verify(layout)) == [("fault", "other-commit", 1)]


async def test_a_meta_commit_without_its_tag_is_found(layout: Layout) -> None:
    await drop(layout, "deployed/1", "building/1", "approved/1", "proposal/1")
    assert ("fault", "no-tag", 1) in rules(await verify.verify(layout))


async def test_a_deploy_between_its_commit_and_its_tag_is_only_noted(layout: Layout) -> None:
    await drop(layout, "deployed/1")
    assert ("note", "unfinished", 1) in rules(await verify.verify(layout))


async def test_an_approval_of_what_was_not_seen_is_found(layout: Layout) -> None:
    await set_tag(layout, "approved/1", await sha_of(layout), {tags.BY: BY, tags.SEEN: "1" * 40}, old=True)
    report = await verify.verify(layout)
    assert rules(report) == [("fault", "seen", 1)]
    assert "having seen 111111111111" in report.findings[0].text


@pytest.mark.parametrize(
    ("said", "expected"),
    [({tags.SEEN: ""}, ["by", "seen"]), ({tags.BY: "alice", tags.SEEN: "right"}, ["by"])],
)
async def test_an_approval_by_nobody_or_by_an_agent_is_found(
    layout: Layout, said: dict[str, str], expected: list[str]
) -> None:
    sha = await sha_of(layout)
    given = {key: sha if value == "right" else value for key, value in said.items() if value}
    await set_tag(layout, "approved/1", sha, given, old=True)
    found = [rule for _, rule, _ in rules(await verify.verify(layout)) if rule != "event"]
    assert found == expected


async def test_tags_that_exclude_each_other_or_skip_a_state_are_found(layout: Layout) -> None:
    sha = await sha_of(layout)
    await set_tag(layout, "failed/1", sha, {tags.BY: "hive"})
    await set_tag(layout, "denied/7", sha, {tags.BY: BY})
    await drop(layout, "building/1")
    found = rules(await verify.verify(layout))
    assert ("fault", "rivals", 1) in found
    assert ("fault", "order", 1) in found
    assert ("fault", "order", 7) in found


async def test_a_tag_that_was_moved_or_made_by_hand_is_found(layout: Layout) -> None:
    applied = Applied(layout, ALICE)
    other = await applied.repo.commit(await sha_of(layout))
    await propose(applied, 2, other.sha)
    await applied.repo.transaction([RefChange("refs/tags/approved/2", new=other.sha)])
    found = rules(await verify.verify(layout))
    assert ("fault", "damaged", 2) in found
    assert ("fault", "by", 2) in found


async def test_a_tag_object_whose_content_was_changed_is_found(layout: Layout) -> None:
    import zlib

    applied = Applied(layout, ALICE)
    name = applied.repo.ref("refs/tags/approved/1")
    assert name is not None
    path = applied.repo.path / "objects" / name[:2] / name[2:]
    content = zlib.decompress(path.read_bytes()).replace(b"uid 1000", b"uid 1001")
    path.chmod(0o644)
    path.write_bytes(zlib.compress(content))
    assert ("fault", "damaged", 1) in rules(await verify.verify(layout))
    path.unlink()
    assert ("fault", "damaged", 1) in rules(await verify.verify(layout))


async def test_ids_that_were_given_up_are_only_noted(layout: Layout) -> None:
    meta, applied = MetaRepo(layout), Applied(layout, ALICE)
    head = (await meta.read()).desired.head
    await meta.repo.transaction([RefChange("refs/heads/main", new=(await meta.repo.commit(head)).parents[0])])
    deploys = {each.id: each for each in await applied.deploys()}
    await MetaRepo(layout).adopt(ALICE, deploys[ONE], disown=frozenset({ONE}), by=BY, at=AT)
    assert rules(await verify.verify(layout)) == [("note", "disowned", 1)]


async def test_a_denied_proposal_that_is_no_longer_kept_is_a_note_with_its_commit(layout: Layout) -> None:
    applied = Applied(layout, ALICE)
    sha = await propose_edit(applied, 2)
    earlier = (await verify.verify(layout)).heads
    await applied.transition(ProposalId(2), TagState.DENIED, by=BY, reason="no", at=AT)
    report = await verify.verify(layout, earlier)
    assert rules(report) == [("note", "not-kept", 2)]
    assert report.findings[0].text == f"commit {sha} is no longer kept: 2 was denied"
    assert report.faults == 0


async def test_a_proposal_that_was_taken_back_by_hand_is_found(layout: Layout) -> None:
    applied = Applied(layout, ALICE)
    sha = await propose_edit(applied, 2)
    earlier = (await verify.verify(layout)).heads
    await set_tag(layout, "proposal/2", sha, {}, old=True)
    await applied.transition(ProposalId(2), TagState.DENIED, by=BY, reason="no", at=AT)
    assert ("fault", "rewritten", None) in rules(await verify.verify(layout, earlier))


async def test_what_was_there_at_an_earlier_audit_and_is_gone_is_found(layout: Layout) -> None:
    earlier = (await verify.verify(layout)).heads
    written = json.dumps({**asdict(await verify.verify(layout)), "faults": 0}).encode()
    assert verify.heads_from(written) == earlier
    applied, meta = Applied(layout, ALICE), MetaRepo(layout)
    sha = await sha_of(layout)
    await propose(applied, 2, sha)
    assert rules(await verify.verify(layout, earlier)) == []
    later = (await verify.verify(layout)).heads
    await drop(layout, "proposal/2")
    assert rules(await verify.verify(layout, earlier)) == []
    assert rules(await verify.verify(layout, later)) == [("fault", "rewritten", None)]
    parent = (await meta.repo.commit(Sha(later.meta))).parents[0]
    await meta.repo.transaction([RefChange("refs/heads/main", new=parent)])
    assert ("fault", "rewritten", None) in rules(await verify.verify(layout, earlier))


async def test_a_whole_new_chain_is_found_by_the_head_that_was_noted(layout: Layout) -> None:
    earlier = (await verify.verify(layout)).heads
    sql(layout, "UPDATE events SET data = '{\"x\": 1}' WHERE kind = 'daemon_started'")
    sql(layout, "UPDATE events SET hash = NULL")
    sql(layout, "DELETE FROM event_anchor")
    from reconciler.store.database import Database
    from reconciler.store.events import log

    async with await Database.open(layout.database) as db:
        await db.write(lambda c: log.append(c, 1.0, "repaired", None, {}))
    assert rules(await verify.verify(layout)) == []
    assert rules(await verify.verify(layout, earlier)) == [("fault", "rewritten", earlier.event)]


async def test_no_database_and_a_database_that_is_none_are_told_apart(layout: Layout) -> None:
    layout.database.write_bytes(b"no database" * 100)
    assert rules(await verify.verify(layout)) == [("fault", "database", None)]
    layout.database.unlink()
    assert rules(await verify.verify(layout)) == [("note", "no-database", None)]


async def test_where_there_is_no_hive_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no hive"):
        await verify.verify(Layout(tmp_path / "s", tmp_path / "r"))
    with pytest.raises(BadInput, match="audit verify --json"):
        verify.heads_from(b"{}")

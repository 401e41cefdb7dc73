"""What `hive doctor` says about meta, repos, tags and the database."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing

from meta.git.repo import GitRepo
from meta.names import AgentName, Sha
from reconciler.upkeep.doctor.checks import truth
from reconciler.upkeep.doctor.checks.base import Subject, Verdict
from reconciler.upkeep.doctor.examine import failed
from tests.reconciler.upkeep.doctor.looks import ALICE, deployed, look, only, ref
from tests.support import older_layout


async def test_a_meta_that_cannot_be_read_fails(subject: Subject) -> None:
    (subject.layout.meta_git / "refs/heads/main").unlink()
    await only(subject, "meta", Verdict.FAIL, "refs/heads/main is damaged: it is missing")


async def test_a_repo_or_a_pin_that_meta_wants_and_nobody_has_fails(subject: Subject) -> None:
    for path in ref(subject, ".").glob(f"*/{deployed(subject)}"):
        path.unlink()
    await only(subject, "meta", Verdict.FAIL, "meta pins alice")
    shutil.rmtree(subject.layout.applied(ALICE))
    await only(subject, "meta", Verdict.FAIL, "no applied repo")


async def test_a_lost_object_and_an_edited_config_fail(subject: Subject) -> None:
    git_dir = subject.layout.applied_git(ALICE)
    commit = (git_dir / "refs/hive/seed").read_text(encoding="ascii").strip()
    (git_dir / "objects" / commit[:2] / commit[2:]).unlink()
    await only(subject, "fsck", Verdict.FAIL, f"git fsck in {git_dir}")
    with (git_dir / "config").open("a", encoding="ascii") as file:
        file.write("[core]\n\thooksPath = /tmp\n")
    await only(subject, "fsck", Verdict.FAIL, "config was edited")


async def test_two_ends_of_one_id_fail(subject: Subject) -> None:
    id = deployed(subject)
    shutil.copy(ref(subject, f"deployed/{id}"), ref(subject, f"denied/{id}"))
    await only(subject, "tags", Verdict.FAIL, f"denied/{id}, deployed/{id}: only one can be true")


async def test_a_meta_that_went_back_in_time_fails_with_how_to_adopt(subject: Subject) -> None:
    main = subject.layout.meta_git / "refs/heads/main"
    head = await GitRepo(subject.layout.meta_git).commit(Sha(main.read_text(encoding="ascii").strip()))
    main.write_text(f"{head.parents[0]}\n", encoding="ascii")
    row = await only(subject, "tags", Verdict.FAIL, f"deployed/{deployed(subject)} names a meta commit")
    assert "hive adopt alice" in row.remedy


async def test_a_denied_id_that_meta_has_fails_as_a_failed_one_does(subject: Subject) -> None:
    id = deployed(subject)
    tag = ref(subject, f"deployed/{id}")
    for state in ("approved", "building"):
        ref(subject, f"{state}/{id}").unlink()
    for state in ("denied", "failed"):
        tag = tag.rename(ref(subject, f"{state}/{id}"))
        row = await only(subject, "tags", Verdict.FAIL, f"alice: {state}/{id} exists, but meta has its commit")
        assert "hive adopt alice" in row.remedy


def edit(subject: Subject, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(subject.layout.database)) as connection, connection:
        connection.execute(statement, values)


async def test_cards_behind_their_tags_are_told(subject: Subject) -> None:
    edit(subject, "DELETE FROM cards WHERE agent = 'alice' AND id > 0")
    edit(subject, "UPDATE projections SET stamp = 'older' WHERE agent = 'alice'")
    await only(subject, "database", Verdict.WARN, "card missing, tag deployed")


async def test_cards_are_not_compared_with_tags_that_cannot_be_read(subject: Subject) -> None:
    """The remedy for cards that disagree costs the messages."""
    edit(subject, "UPDATE cards SET state = 'failed'")
    name = (subject.layout.applied_git(subject.repos()[0]) / "refs/tags/deployed/0").read_text(encoding="ascii").strip()
    (subject.layout.applied_git(subject.repos()[0]) / "objects" / name[:2] / name[2:]).unlink()
    assert all(finding.verdict is not Verdict.FAIL for finding in await truth.database(subject))
    assert any(name in finding.text for finding in await truth.damage(subject))


async def test_cards_that_lie_with_a_current_stamp_fail(subject: Subject) -> None:
    edit(subject, "UPDATE cards SET state = 'failed' WHERE agent = 'alice' AND id > 0")
    stamp = subject.applied(ALICE).stamp()
    edit(subject, "UPDATE projections SET stamp = ? WHERE agent = 'alice'", stamp)
    await only(subject, "database", Verdict.FAIL, "card failed, tag deployed")


async def test_a_database_that_is_damaged_newer_or_gone_fails(subject: Subject) -> None:
    edit(subject, "PRAGMA user_version = 999")
    await only(subject, "database", Verdict.FAIL, "newer hive")
    subject.layout.database.write_bytes(b"no database" * 1000)
    await only(subject, "database", Verdict.FAIL, "not a database")
    subject.layout.database.unlink()
    assert not failed(await look(subject, "database"))
    subject.held = True
    await only(subject, "database", Verdict.FAIL, "is missing")


async def test_the_remedy_for_a_newer_database_names_every_way_back(subject: Subject) -> None:
    edit(subject, "PRAGMA user_version = 999")
    (finding,) = [found for found in await look(subject, "database") if found.verdict is Verdict.FAIL]
    assert "`hive restore BACKUP --only database`" in finding.remedy
    assert "docs/howto/upgrade.md" in finding.remedy


async def test_a_migration_that_is_not_at_its_end_is_named(subject: Subject) -> None:
    left = {"alice": {"text": "there is no manager yet", "remedy": "restart the daemon"}}
    subject.layout.migration.write_text(json.dumps({"left": left}), encoding="utf-8")
    await only(subject, "fsck", Verdict.WARN, "the migration of alice is not at its end: there is no manager yet")


async def test_a_held_older_agent_is_no_damage_and_one_with_an_odd_name_is_named(subject: Subject) -> None:
    older_layout.make(subject.layout, AgentName("held"))
    older_layout.make(subject.layout, AgentName("much-too-long"))
    assert not failed(await look(subject, "damage"))
    await only(subject, "fsck", Verdict.FAIL, "applied/held has the layout of an older hive")
    row = await only(subject, "fsck", Verdict.WARN, "applied/much-too-long is of an older hive and is not migrated")
    assert "rename it" in row.remedy

"""Credentials of agents: which files a start passes on, and which it refuses without a look into them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from meta.errors import HiveError, Refused, TransientError
from reconciler.privileged import credentials
from reconciler.privileged.conf import Credential
from reconciler.privileged.protocol import SetSystem, Start, WriteSettings
from tests.reconciler.privileged.containers import SETTINGS, created, written
from tests.reconciler.privileged.stage import ALICE, HASH, Stage

SECRET = "hunter2-of-alice"
ID = "github-token"


def give(stage: Stage, path: Path | str, id: str = ID, name: str = "alice") -> None:
    """Write the host's list."""
    text = json.dumps({"version": 1, "agents": {name: {id: str(path)}}})
    stage.host.credentials.write_text(text)
    stage.host.credentials.chmod(0o644)


def need(stage: Stage, content: str = json.dumps([ID])) -> None:
    """Let alice's system ask for credentials."""
    path = Path(stage.system) / credentials.NEEDED
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def secret(stage: Stage, name: str = "token", mode: int = 0o400) -> Path:
    """A file as sops-nix and agenix make it."""
    path = stage.root / "run" / "secrets.d" / "1" / name
    path.parent.mkdir(mode=0o751, parents=True, exist_ok=True)
    path.write_text(SECRET)
    path.chmod(mode)
    return path


def ready(stage: Stage) -> Path:
    """alice is there and needs one credential, which the host gives her."""
    created(stage)
    need(stage)
    path = secret(stage)
    give(stage, path)
    return path


def refusal(stage: Stage) -> HiveError:
    """The error of a start, which starts nothing and shows no content."""
    stage.forget()
    with pytest.raises(HiveError) as caught:
        stage.verbs.perform(Start(ALICE))
    assert not stage.calls("systemctl")
    assert SECRET not in caught.value.describe()
    return caught.value


def test_a_start_passes_on_what_the_agent_needs_by_its_path(stage: Stage) -> None:
    path = ready(stage)
    stage.verbs.perform(Start(ALICE))
    text = stage.conf().read_text()
    assert f" --load-credential={ID}:{path}" in text
    assert SECRET not in text
    assert written(stage).fingerprint is not None


def test_an_agent_gets_nothing_that_its_system_does_not_ask_for_or_that_is_anothers(stage: Stage) -> None:
    ready(stage)
    need(stage, "[]")
    stage.verbs.perform(Start(ALICE))
    assert "--load-credential" not in stage.conf().read_text()
    need(stage)
    give(stage, secret(stage), name="bob")
    assert f"set services.hive.credentials.alice.{ID}" in refusal(stage).hint


def test_each_start_goes_by_the_list_of_that_moment(stage: Stage) -> None:
    ready(stage)
    stage.verbs.perform(Start(ALICE))
    other = secret(stage, "other")
    give(stage, other)
    stage.verbs.perform(WriteSettings(ALICE, SETTINGS))
    stage.verbs.perform(Start(ALICE))
    assert [word for word in stage.conf().read_text().split() if "load-credential" in word] == [
        f'--load-credential={ID}:{other}"'
    ]
    without = stage.build("two")
    stage.verbs.perform(SetSystem(ALICE, without))
    stage.host.credentials.unlink()
    stage.verbs.perform(Start(ALICE))
    assert "--load-credential" not in stage.conf().read_text()


def test_a_link_that_is_replaced_at_each_rotation_is_passed_on_as_it_is(stage: Stage) -> None:
    ready(stage)
    link = stage.root / "run" / "secrets"
    link.symlink_to("secrets.d/1")
    give(stage, link / "token")
    stage.verbs.perform(Start(ALICE))
    assert f"--load-credential={ID}:{link}/token" in stage.conf().read_text()


def test_a_file_that_is_missing_is_waited_for_and_named(stage: Stage) -> None:
    path = ready(stage)
    path.unlink()
    error = refusal(stage)
    assert isinstance(error, TransientError)
    assert f"the credential {ID} of alice is missing: there is no {path}" in error.summary
    assert "sops-nix" in error.hint


def _in_store(stage: Stage, path: Path) -> None:
    stored = Path(stage.host.bounds.store) / f"{HASH}-token"
    path.rename(stored)
    stored.chmod(0o444)
    path.symlink_to(stored)


def _by_a_folder_in_store(stage: Stage, path: Path) -> None:
    folder = Path(stage.host.bounds.store) / f"{HASH}-etc"
    folder.mkdir()
    (folder / path.name).write_text(SECRET)
    path.unlink()
    path.parent.rmdir()
    path.parent.symlink_to(folder)


def _open(stage: Stage, path: Path) -> None:
    path.chmod(0o444)


def _group_writes(stage: Stage, path: Path) -> None:
    path.chmod(0o460)


def _folder(stage: Stage, path: Path) -> None:
    path.unlink()
    path.mkdir()


def _device(stage: Stage, path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _replaceable(stage: Stage, path: Path) -> None:
    path.parent.chmod(0o777)


def _loop(stage: Stage, path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _long(stage: Stage, path: Path) -> None:
    path.chmod(0o600)
    path.write_text(SECRET * 2**17)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_in_store, "lies in the store"),
        (_by_a_folder_in_store, "lies in the store"),
        (_open, "has mode 0444"),
        (_group_writes, "has mode 0460"),
        (_folder, "is not a file"),
        (_device, "is not a file"),
        (_replaceable, "others may write to"),
        (_loop, "too many links"),
        (_long, "bytes"),
    ],
)
def test_a_file_that_is_no_secret_of_roots_starts_nothing(
    stage: Stage, change: Callable[[Stage, Path], None], words: str
) -> None:
    change(stage, ready(stage))
    error = refusal(stage)
    assert isinstance(error, Refused)
    assert words in error.summary


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("part", ["token", "link", "folder"])
def test_what_another_user_owns_on_the_way_is_refused(stage: Stage, part: str) -> None:
    path = ready(stage)
    link = path.with_name("link")
    link.symlink_to(path)
    give(stage, link)
    os.chown({"token": path, "link": link, "folder": path.parent}[part], 1234, 1234, follow_symlinks=False)
    assert "belongs to the uid 1234" in refusal(stage).summary


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"version": 1}',
        '{"version": 2, "agents": {}}',
        '{"version": 1, "agents": []}',
        '{"version": 1, "agents": {"Alice": {}}}',
        '{"version": 1, "agents": {"alice": []}}',
        '{"version": 1, "agents": {"alice": {"tmpfiles.extra": "/run/x"}}}',
        '{"version": 1, "agents": {"alice": {"a": "run/x"}}}',
        '{"version": 1, "agents": {"alice": {"a": "/run/../x"}}}',
        '{"version": 1, "agents": {"alice": {"a": "/run/x --bind=/:/host"}}}',
        '{"version": 1, "agents": {"alice": {"a": "/run/x:y"}}}',
        '{"version": 1, "agents": {"alice": {"a": 1}}}',
        '{"version": 1, "agents": {"bob": {"a": 1}}}',
        "x" * 2**16,
    ],
)
def test_a_list_that_is_wrong_in_any_part_gives_nothing(stage: Stage, content: str) -> None:
    ready(stage)
    stage.host.credentials.write_text(content)
    error = refusal(stage)
    assert isinstance(error, Refused)
    assert "the list of credentials is wrong" in error.summary


def test_a_list_that_others_may_write_gives_nothing(stage: Stage) -> None:
    ready(stage)
    stage.host.credentials.chmod(0o666)
    assert "others than root may write" in refusal(stage).summary


def test_an_agent_that_needs_none_starts_whatever_the_list_is(stage: Stage) -> None:
    created(stage)
    stage.host.credentials.write_text("{")
    stage.verbs.perform(Start(ALICE))
    assert stage.calls("systemctl")[-1] == "systemctl start container@alice.service"


@pytest.mark.parametrize("content", ["{", "{}", '"a"', "[1]", '["tmpfiles.extra"]', '["a b"]', "[" * 5000])
def test_a_system_with_a_wrong_list_of_needs_is_refused(stage: Stage, content: str) -> None:
    ready(stage)
    need(stage, content)
    assert "of the agent's system is wrong" in refusal(stage).summary


def test_a_list_of_needs_that_leads_out_of_the_store_is_not_read(stage: Stage) -> None:
    path = ready(stage)
    needs = Path(stage.system) / credentials.NEEDED
    needs.unlink()
    needs.symlink_to(path)
    assert "out of the store" in refusal(stage).summary


def test_ids_are_sorted_and_single(stage: Stage) -> None:
    need(stage, '["b", "a", "b"]')
    assert credentials.needed(stage.system, stage.host.bounds.store) == ("a", "b")
    own = {id: Credential(id, str(secret(stage, id))) for id in ("a", "b")}
    passed = credentials.for_start(ALICE, own, ("a", "b"), stage.host.bounds.store, os.geteuid())
    assert [each.id for each in passed] == ["a", "b"]

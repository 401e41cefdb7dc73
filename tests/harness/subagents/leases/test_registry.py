"""`spawned_pods.json`: what is recorded is there after a restart, and nothing in the file stops a start."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from harness.subagents.leases.registry import FILE_LIMIT, FILE_NAME, Registry, SpawnedPod
from meta.errors import BadInput, HiveError, NotFound
from meta.scope.rules import WRITE
from meta.wire.pod import ScopeRule
from tests.support import no_file

RULE = ScopeRule(target="/w/ü", permission=WRITE, recursive=False)
SOUND = {
    "pod_name": "kid",
    "socket_path": "/run/kid/sock",
    "scope_delegated": [{"target": "/w/ü", "permission": "write", "recursive": False}],
    "callback_address": "/run/top/sock",
}


def record(pod: str = "kid") -> SpawnedPod:
    return SpawnedPod(
        pod_name=pod, socket_path="/run/kid/sock", scope_delegated=(RULE,), callback_address="/run/top/sock"
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept" / FILE_NAME


def written(path: Path, content: bytes | list[object]) -> Registry:
    path.parent.mkdir()
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return Registry(path, clock=lambda: 1000.0)


def test_records_have_the_field_names_of_the_seed_and_are_there_after_a_restart(path: Path) -> None:
    first = Registry(path)
    first.add(record())
    first.add(record("other"))
    first.remove("other")
    first.remove("other")
    assert json.loads(path.read_text(encoding="utf-8")) == [SOUND]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = Registry(path)
    assert again.pods == (record(),) and again.get("kid") == record() and again.dropped == []
    with pytest.raises(NotFound, match="no sub-agent 'other'"):
        again.get("other")


def test_a_record_takes_the_place_of_one_with_the_same_name(path: Path) -> None:
    registry = Registry(path)
    registry.add(record())
    newer = record().model_copy(update={"socket_path": "/run/new"})
    registry.add(newer)
    assert Registry(path).pods == (newer,)


@pytest.mark.parametrize(
    "content",
    [b"", b"[", b"{}", b"null", b"[1", b'[{"pod_name": "k', b"\xff\xfe", b"[" * 100_000, b" " * (FILE_LIMIT + 1)],
)
def test_a_file_that_is_no_list_is_set_aside_and_reported(path: Path, content: bytes) -> None:
    registry = written(path, content)
    assert registry.pods == ()
    assert "set aside" in registry.dropped[0]
    assert path.with_name(f"{FILE_NAME}.damaged-1000").exists() and not path.exists()
    registry.add(record())
    assert Registry(path).pods == (record(),)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "kid",
        {},
        {**SOUND, "pod_name": "../kid"},
        {**SOUND, "pod_name": "kid\n"},
        {**SOUND, "pod_name": 7},
        {**SOUND, "socket_path": "kid/sock"},
        {**SOUND, "socket_path": "/" + "s" * 200},
        {**SOUND, "callback_address": "/a\0b"},
        {**SOUND, "scope_delegated": [{"target": "/w/../etc", "permission": "write"}]},
        {**SOUND, "scope_delegated": [{"target": "/w", "permission": "own"}]},
        {**SOUND, "scope_delegated": "all"},
    ],
)
def test_a_record_that_hive_would_not_write_is_dropped_and_the_others_are_kept(path: Path, wrong: object) -> None:
    registry = written(path, [wrong, SOUND, SOUND])
    assert registry.pods == (record(),)
    assert len(registry.dropped) == 2
    assert all("\n" not in reason and "\0" not in reason for reason in registry.dropped)


def test_more_records_than_there_can_be_pods_are_dropped(path: Path) -> None:
    registry = written(path, [{**SOUND, "pod_name": f"kid-{number}"} for number in range(300)])
    assert len(registry.pods) == 100 and len(registry.dropped) == 20
    with pytest.raises(HiveError, match="100 sub-agents"):
        registry.add(record())


@pytest.mark.parametrize("kind", no_file.KINDS)
def test_what_is_no_file_is_set_aside_without_waiting_for_it(path: Path, kind: str) -> None:
    no_file.make(path, kind)
    registry = Registry(path)
    assert "set aside" in registry.dropped[0]
    registry.add(record())
    assert Registry(path).pods == (record(),)


def test_a_record_that_cannot_be_written_changes_nothing(path: Path) -> None:
    registry = Registry(path)
    registry.add(record())
    path.unlink()
    no_file.make(path, "folder")  # no file can be renamed over it, not by root either
    with pytest.raises(HiveError, match="cannot be written") as caught:
        registry.add(record("other"))
    assert caught.value.hint
    with pytest.raises(HiveError, match="cannot be written"):
        registry.remove("kid")
    assert registry.pods == (record(),)
    assert [each.name for each in path.parent.iterdir()] == [FILE_NAME]


def test_a_wrong_record_is_not_added(path: Path) -> None:
    with pytest.raises(BadInput, match="not a name of a pod"):
        Registry(path).add(record("Kid"))
    assert not path.exists()

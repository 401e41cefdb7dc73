"""What the harness remembers in /state, although the agent can write there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.model import MODEL_FILE, Model, check_model
from harness.session import SESSION_FILE, Session
from meta.errors import BadInput


def test_each_runtime_has_its_own_conversation(tmp_path: Path) -> None:
    Session(tmp_path, "claude").keep("c-1")
    Session(tmp_path, "codex").keep("x-1")
    assert [Session(tmp_path, runtime).id for runtime in ("claude", "codex", "gemini")] == ["c-1", "x-1", None]
    Session(tmp_path, "claude").keep(None)
    assert [Session(tmp_path, runtime).id for runtime in ("claude", "codex")] == [None, "x-1"]


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    Session(tmp_path, "claude").keep("c-1")
    assert (tmp_path / SESSION_FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"sessions": 3, "settings": []}',
        b'{"sessions": {"claude": "--dangerous"}}',
        b"[" * 999,
    ],
)
def test_a_file_that_is_damaged_or_forged_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SESSION_FILE).write_bytes(content)
    session = Session(tmp_path, "claude")
    assert session.id is None
    assert session.changes("g2", {"model": "opus"}) == []
    session.keep("c-2")
    assert Session(tmp_path, "claude").id == "c-2"


def test_a_pipe_or_a_link_in_the_place_of_the_file_blocks_and_reveals_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / SESSION_FILE)
    (tmp_path / "secret").write_text("secret\n")
    (tmp_path / MODEL_FILE).symlink_to(tmp_path / "secret")
    assert Session(tmp_path, "claude").id is None
    assert Model(tmp_path / MODEL_FILE, None).name is None
    Model(tmp_path / MODEL_FILE, None).set("opus")
    assert (tmp_path / "secret").read_text() == "secret\n"


def test_a_conversation_whose_name_is_no_word_is_not_kept(tmp_path: Path) -> None:
    session = Session(tmp_path, "claude")
    for name in ("", "two words", "x" * 201, "-rf", "a\n"):
        session.keep(name)
    assert session.id is None


def test_it_says_which_settings_changed_in_the_words_that_the_operator_saw(tmp_path: Path) -> None:
    Session(tmp_path, "claude").remember("g1", {"model": "haiku", "label": "x", "permissions.deny": '["a"]'})
    session = Session(tmp_path, "claude")
    assert session.changes("g1", {"model": "opus"}) == []
    assert session.changes("g2", {"model": "opus", "permissions.deny": "[]"}) == [
        'MORE RIGHTS: permissions.deny: removed "a"; now no tool is denied',
        'label: "x" -> unset',
        'model: "haiku" -> "opus"',
    ]
    (line,) = session.changes("g2", {"model": "haiku", "label": "x", "permissions.deny": '["a"]'})
    assert "agent.toml is as before" in line


@pytest.mark.parametrize("kept", ["{", "[[1], {}]", "5", "[" * 5_000])
def test_settings_that_the_agent_wrote_itself_are_only_named(tmp_path: Path, kept: str) -> None:
    Session(tmp_path, "claude").remember("g1", {"recipients": kept, "budget.turns": kept})
    changes = Session(tmp_path, "claude").changes("g2", {"recipients": "[]", "budget.turns": "1"})
    assert changes[-1].startswith("recipients")


def test_the_override_comes_before_the_approved_model_and_survives(tmp_path: Path) -> None:
    path = tmp_path / MODEL_FILE
    assert (Model(path, None).name, Model(path, "haiku").name) == (None, "haiku")
    assert Model(path, "haiku").set("opus") is None
    assert path.read_text() == "opus\n"
    model = Model(path, "haiku")
    assert (model.name, model.override) == ("opus", "opus")
    assert model.set(" ") is None
    assert Model(path, "haiku").name == "haiku"


@pytest.mark.parametrize("content", ["", "\n", "two words\n", "a\nb\n", "x" * 300, "-p\n", "\x1b[31m"])
def test_a_model_file_without_a_name_is_the_default(tmp_path: Path, content: str) -> None:
    (tmp_path / MODEL_FILE).write_text(content)
    assert Model(tmp_path / MODEL_FILE, "haiku").name == "haiku"


def test_a_failed_write_is_a_warning_and_the_override_holds(tmp_path: Path) -> None:
    model = Model(tmp_path / "missing" / MODEL_FILE, "haiku")
    assert "cannot be written" in (model.set("opus") or "")
    assert model.name == "opus"


@pytest.mark.parametrize("name", ["claude-opus-5-5", "openai/gpt-6:thinking", "sonnet[1m]", "a@2026"])
def test_real_names_of_models_pass(name: str) -> None:
    assert check_model(f" {name}\n") == name


@pytest.mark.parametrize("name", ["", "--help", "a b", "a\x00", "é", "x" * 201])
def test_what_cannot_be_a_model_is_refused(name: str) -> None:
    with pytest.raises(BadInput):
        check_model(name)

"""Whether there is a login, by the file of the CLI: whatever an agent puts in its place."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.login.presence import MOST, Credentials, Presence, Standing, judge
from harness.login.table import CLAUDE, CODEX, TABLE
from harness.login.watch import Watch
from harness.runtimes.acp.table import PRESETS
from harness.runtimes.claude.adapter import ClaudeRuntime
from harness.runtimes.script import ScriptRuntime
from meta.agent_toml.logins import LOGINS
from meta.agent_toml.runtimes import runtime_name

LOGIN = json.dumps({"claudeAiOauth": {"accessToken": "a", "refreshToken": "r", "expiresAt": 1}}).encode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / ".claude" / ".credentials.json"
    path.parent.mkdir()
    return path


@pytest.fixture
def credentials(tmp_path: Path) -> Credentials:
    return Credentials(CLAUDE, tmp_path, {})


def test_a_file_with_tokens_is_a_login() -> None:
    assert judge(CLAUDE, LOGIN) == Presence(Standing.PRESENT)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", ".credentials.json is empty"),
        (LOGIN[:-9], ".credentials.json is cut off or damaged"),
        (b"\xff\xfe", ".credentials.json is cut off or damaged"),
        (b"[" * 100_000, ".credentials.json is cut off or damaged"),
        (b"{}", ".credentials.json: it has no login"),
        (b"[]", ".credentials.json: it has no login"),
        (
            b'{"claudeAiOauth": {"accessToken": "", "refreshToken": " "}}',
            ".credentials.json: its login was refused or ended",
        ),
        (LOGIN + b" " * MOST, ".credentials.json is too large to be a login"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_missing_login_with_the_reason(data: bytes, reason: str) -> None:
    assert judge(CLAUDE, data) == Presence(Standing.MISSING, reason)


@pytest.mark.parametrize(
    ("value", "standing"),
    [
        ({"OPENAI_API_KEY": "sk"}, Standing.PRESENT),
        ({"OPENAI_API_KEY": None, "tokens": {"access_token": "x"}}, Standing.PRESENT),
        ({"OPENAI_API_KEY": None, "tokens": None}, Standing.MISSING),
        ("text", Standing.MISSING),
    ],
)
def test_codex_has_a_key_or_tokens(value: object, standing: Standing) -> None:
    assert judge(CODEX, json.dumps(value).encode()).standing is standing


@given(
    st.binary(max_size=300)
    | st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_no_content_of_the_file_is_an_error_or_is_in_the_reason(data: bytes) -> None:
    for row in (CLAUDE, CODEX, TABLE["gemini"]):
        assert judge(row, data).standing in (Standing.PRESENT, Standing.MISSING)
    assert "hunter2" not in judge(CLAUDE, b'{"claudeAiOauth": "hunter2"').reason


@pytest.mark.parametrize("runtime", TABLE)
def test_what_is_looked_at_is_what_the_table_of_logins_names(tmp_path: Path, runtime: str) -> None:
    place = LOGINS[runtime_name(runtime)]
    assert TABLE[runtime].place is place
    for file in place.files:
        credentials = Credentials(TABLE[runtime], tmp_path, {})
        before = credentials.mark()
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("x")
        assert credentials.mark() != before


@pytest.mark.parametrize("runtime", PRESETS)
def test_a_runtime_says_that_it_logs_in_if_hive_drives_its_login(runtime: str) -> None:
    assert PRESETS[runtime].capabilities.login is (TABLE[runtime].dialogue is not None)


def test_claude_and_the_script_say_if_hive_drives_their_login() -> None:
    for known in (ClaudeRuntime, ScriptRuntime):
        assert known.capabilities.login is (TABLE[known.name].dialogue is not None)


@pytest.mark.parametrize(
    ("text", "standing"),
    [
        ("# mine\nexport GEMINI_API_KEY='x'\n", Standing.PRESENT),
        ("GOOGLE_API_KEY=x", Standing.PRESENT),
        ("GEMINI_API_KEY=\nOTHER=x\n#GEMINI_API_KEY=x", Standing.MISSING),
    ],
)
def test_a_key_in_the_file_of_keys_is_a_login_of_gemini(tmp_path: Path, text: str, standing: Standing) -> None:
    credentials = Credentials(TABLE["gemini"], tmp_path, {})
    (tmp_path / ".gemini").mkdir()
    before = credentials.mark()
    (tmp_path / ".gemini" / ".env").write_text(text)
    assert credentials.look().standing is standing
    assert before is None
    assert credentials.mark() is not None


def test_without_a_file_there_is_no_login(credentials: Credentials) -> None:
    assert credentials.mark() is None
    assert credentials.look() == Presence(Standing.MISSING, "there is no login")


def test_the_mark_changes_with_the_file(credentials: Credentials, file: Path) -> None:
    file.write_bytes(LOGIN)
    first = credentials.mark()
    assert first == credentials.mark()
    file.with_suffix(".new").write_bytes(LOGIN)
    file.with_suffix(".new").rename(file)
    assert credentials.mark() != first


@pytest.mark.parametrize("kind", ["folder", "fifo", "link", "device"])
def test_what_is_no_file_is_a_missing_login_and_never_blocks(credentials: Credentials, file: Path, kind: str) -> None:
    match kind:
        case "folder":
            file.mkdir()
        case "fifo":
            os.mkfifo(file)
        case "link":
            (file.parent / "other").write_bytes(LOGIN)
            file.symlink_to("other")
        case _:
            file.symlink_to("/dev/zero")
    assert credentials.look().standing is Standing.MISSING
    assert credentials.look().reason.startswith(".credentials.json cannot be read: ")


@pytest.mark.unprivileged
def test_a_file_that_its_owner_cannot_read_is_a_missing_login(credentials: Credentials, file: Path) -> None:
    file.write_bytes(LOGIN)
    file.chmod(0)
    assert credentials.look() == Presence(Standing.MISSING, ".credentials.json cannot be read: Permission denied")


def test_a_file_of_another_user_that_cannot_be_read_is_unknown(
    credentials: Credentials, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_bytes(LOGIN)

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    assert credentials.look() == Presence(Standing.UNKNOWN)


def test_the_folder_that_the_variable_names_counts(tmp_path: Path) -> None:
    (tmp_path / ".credentials.json").write_bytes(LOGIN)
    env = {"CLAUDE_CONFIG_DIR": str(tmp_path)}
    assert Credentials(CLAUDE, tmp_path / "home", env).look() == Presence(Standing.PRESENT)


def test_with_a_key_in_the_environment_no_file_is_needed(tmp_path: Path) -> None:
    assert (
        Credentials(CLAUDE, tmp_path, {"ANTHROPIC_AUTH_TOKEN": "from the way out"}).look().standing is Standing.PRESENT
    )


@pytest.mark.parametrize("runtime", ["script", "opencode", "acp"])
def test_a_runtime_that_needs_no_login_has_none_missing(tmp_path: Path, runtime: str) -> None:
    assert Credentials(TABLE[runtime], tmp_path, {}).look().standing is Standing.PRESENT


def test_a_watch_reports_each_change_once(credentials: Credentials, file: Path) -> None:
    seen: list[Standing] = []
    watch = Watch(credentials, lambda presence: seen.append(presence.standing))

    def look() -> None:
        for _ in range(4):
            watch.look()

    look()
    assert seen == [Standing.MISSING]
    file.write_bytes(LOGIN)
    look()
    file.write_bytes(LOGIN.replace(b'"a"', b'"b"'))  # a token that was refreshed
    look()
    assert seen == [Standing.MISSING, Standing.PRESENT]
    file.unlink()
    look()
    assert seen == [Standing.MISSING, Standing.PRESENT, Standing.MISSING]


def test_a_file_that_is_half_written_is_not_reported(credentials: Credentials, file: Path) -> None:
    file.write_bytes(LOGIN)
    seen: list[Presence] = []
    watch = Watch(credentials, seen.append)
    watch.look()
    file.write_bytes(LOGIN[:20])
    watch.look()
    file.write_bytes(LOGIN + b"\n")
    for _ in range(3):
        watch.look()
    assert seen == [Presence(Standing.PRESENT)]

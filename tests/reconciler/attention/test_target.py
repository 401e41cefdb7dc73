"""HIVE_NOTIFY: three forms that cannot be mistaken for each other, and errors that show none of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from meta.config import Config, config_from_environment
from meta.errors import BadInput
from reconciler.attention.configuration import make_delivery, settings
from reconciler.attention.message import ROWS_MOST, Notification
from reconciler.attention.plan import Quiet
from reconciler.attention.row import Row, Severity
from reconciler.attention.target import Command, Ntfy, Target, Webhook, parse
from reconciler.upkeep.backups.packing import effective

SECRET = "tk_5ecret"


def shown(target: Target) -> str:
    return f"{target.name} {target!r}"


def test_a_url_is_a_webhook() -> None:
    target = parse(f"https://ops:{SECRET}@hooks.example:8443/{SECRET}?token={SECRET}")
    assert isinstance(target, Webhook)
    address = target.address
    assert (address.secure, address.host, address.port) == (True, "hooks.example", 8443)
    assert address.path == f"/{SECRET}?token={SECRET}"
    assert address.headers["Authorization"].startswith("Basic ")
    assert target.name == "https://hooks.example:8443/[...]"
    assert SECRET not in shown(target)


def test_a_url_with_ntfy_in_front_is_a_topic() -> None:
    target = parse(f"ntfy+https://:{SECRET}@ntfy.example/sub/alerts_{SECRET}?auth={SECRET}")
    assert isinstance(target, Ntfy)
    assert (target.topic, target.address.path) == (f"alerts_{SECRET}", f"/sub/?auth={SECRET}")
    assert target.name == "ntfy+https://ntfy.example/[...]"
    assert SECRET not in shown(target)


def test_an_absolute_path_is_a_command_whose_words_are_those_of_a_shell() -> None:
    target = parse(f"/usr/bin/send --token '{SECRET} x'")
    assert target == Command(("/usr/bin/send", "--token", f"{SECRET} x"))
    assert target.name == "/usr/bin/send [...]"
    assert SECRET not in shown(target)


@pytest.mark.parametrize("text", ["HTTPS://h/p", "Https://h/p"])
def test_the_scheme_may_be_in_capitals(text: str) -> None:
    assert parse(text) == parse("https://h/p")
    assert parse(f"NTFY+{text}") == parse("ntfy+https://h/p")


@pytest.mark.parametrize("login", [SECRET, f"{SECRET}:", ":"])
def test_a_login_of_ntfy_without_a_password_is_refused_without_being_shown(login: str) -> None:
    with pytest.raises(BadInput, match="without a password") as raised:
        parse(f"ntfy+https://{login}@h/topic")
    assert SECRET not in raised.value.describe()


@pytest.mark.parametrize(
    "text",
    [
        *("send", "./send", "ftp://h/p", "ntfy+ftp://h/t", "ntfy://h/t", "https://", "https:///p", "https://h:x/p"),
        *("https://h/a b", "https://h/\u00e4", "https://h/\x00", "ntfy+https://h/", "ntfy+https://h/a.b", "/bin/x 'y"),
        *("ntfy+/bin/x", "/bin/x \x00", "https://h:99999/p", " https://h/p"),
    ],
)
def test_anything_else_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(BadInput) as raised:
        parse(text + SECRET if text.startswith("https://h/") else text)
    assert SECRET not in raised.value.describe()


def test_the_target_may_be_in_a_file_of_its_own_which_others_should_not_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "notify"
    file.write_text(f"https://h/{SECRET}\n", encoding="utf-8")
    for mode, warnings in ((0o600, 0), (0o644, 1)):
        file.chmod(mode)
        delivery = make_delivery(Config(notify_file=str(file)))
        assert delivery is not None
        assert delivery.target == parse(f"https://h/{SECRET}")
        assert len(caplog.records) == warnings
    assert make_delivery(Config()) is None


@pytest.mark.parametrize("content", [None, b"", b"https://h/a\nhttps://h/b", b"\xff", b"x" * 9000])
def test_a_file_without_one_target_is_refused_without_being_shown(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "notify"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadInput, match="HIVE_NOTIFY_FILE"):
        make_delivery(Config(notify_file=str(file)))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nothing", "No such file"),
        ("directory", "is no file"),
        ("plain", "is not executable"),
        ("plain/x", "directory"),
    ],
)
def test_a_command_that_cannot_run_is_refused_at_the_start_without_its_arguments(
    tmp_path: Path, name: str, says: str
) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "plain").write_text("#!/bin/sh\n", encoding="utf-8")
    with pytest.raises(BadInput, match=says) as raised:
        make_delivery(Config(notify=f"{tmp_path}/{name} {SECRET}"))
    assert f"{tmp_path}/{name}" in raised.value.describe()
    assert SECRET not in raised.value.describe()


def test_a_command_that_can_run_is_taken() -> None:
    delivery = make_delivery(Config(notify=f"/bin/sh {SECRET}"))
    assert delivery is not None
    assert delivery.target == Command(("/bin/sh", SECRET))


def test_a_target_and_a_file_at_once_are_refused() -> None:
    with pytest.raises(BadInput, match="both set"):
        make_delivery(Config(notify="/bin/true", notify_file="/x"))


def test_settings_are_checked_and_say_what_is_wrong() -> None:
    config = config_from_environment({"HIVE_NOTIFY_QUIET": "22:00-07:30", "HIVE_NOTIFY_MIN": "high"})
    assert (settings(config).quiet, settings(config).least) == (Quiet(1320, 450), Severity.HIGH)
    assert settings(Config()).quiet is None
    for variables in ({"HIVE_NOTIFY_QUIET": "22-7"}, {"HIVE_NOTIFY_MIN": "loud"}, {"HIVE_NOTIFY_QUIET": "29:00-07:00"}):
        with pytest.raises(BadInput, match="HIVE_NOTIFY_"):
            settings(config_from_environment(variables))


@pytest.mark.parametrize(
    ("name", "value", "form"),
    [
        ("HIVE_NOTIFY_QUIET", "22-7", "22:00-07:00"),
        ("HIVE_NOTIFY_QUIET", "29:00-07:00", "22:00-07:00"),
        ("HIVE_NOTIFY_QUIET", "22:00-22:00", "22:00-07:00"),
        ("HIVE_NOTIFY_MIN", "loud", "critical or high or normal or low"),
    ],
)
def test_a_setting_that_is_wrong_names_the_right_form(name: str, value: str, form: str) -> None:
    with pytest.raises(BadInput) as raised:
        settings(config_from_environment({name: value}))
    assert raised.value.hint == f"write it as {form}"
    assert f"{name}='{value}'" in raised.value.summary


def test_neither_the_settings_as_text_nor_a_backup_has_the_target() -> None:
    config = Config(notify=f"https://h/{SECRET}")
    assert SECRET not in repr(config)
    assert SECRET not in str(effective(config))
    with pytest.raises(BadInput) as raised:
        config_from_environment({"HIVE_NOTIFY": f"https://h/{SECRET}", "HIVE_BUILDS": "x"})
    assert SECRET not in raised.value.describe()


def rows(number: int) -> tuple[Row, ...]:
    body = "a body, or a diff"
    return tuple(
        Row(f"k{each}", "question", Severity.HIGH, None, 1.0, f"title {each}", body, "hive inbox")
        for each in range(number)
    )


def test_a_notification_has_titles_and_commands_and_no_details() -> None:
    one, many = Notification("box", rows(1)), Notification("box", rows(ROWS_MOST + 5))
    assert (one.title, one.text) == ("hive on box: title 0", "[high] title 0: hive inbox")
    assert many.title == "hive on box: 25 things need you"
    assert many.text.splitlines()[-1] == "and 5 more: hive attention"
    as_json: Any = json.loads(many.as_json())
    assert (as_json["count"], len(as_json["rows"]), as_json["severity"]) == (25, ROWS_MOST, "high")
    assert set(as_json["rows"][0]) == {"key", "kind", "severity", "agent", "since", "title", "command", "link"}
    for content in (one.as_json(), many.as_json(), one.for_ntfy("t")):
        assert b"a body" not in content


def test_ntfy_gets_its_own_words_and_a_link_once_there_is_one() -> None:
    plain = json.loads(Notification("box", rows(1)).for_ntfy("alerts"))
    assert plain == {
        "topic": "alerts",
        "title": "hive on box: title 0",
        "message": "[high] title 0: hive inbox",
        "priority": 4,
    }
    (row,) = rows(1)
    linked = Row(row.key, row.kind, row.severity, None, 1.0, row.title, "", row.command, "https://hive.example/7")
    assert json.loads(Notification("box", (linked,)).for_ntfy("alerts"))["click"] == "https://hive.example/7"

"""The comments that `hive edit` shows below the text."""

from __future__ import annotations

import pytest

from meta.agent_toml.guide import GUIDE, with_guide, without_guide
from meta.agent_toml.runtimes import RUNTIMES
from meta.agent_toml.settings import AgentSettings, parse_settings


@pytest.mark.parametrize("key", [*AgentSettings.model_fields, *sorted(RUNTIMES)])
def test_every_key_and_every_runtime_is_offered(key: str) -> None:
    assert key in GUIDE


@pytest.mark.parametrize("text", ["", 'label = "a"', 'label = "a"\n\n\n', "a = '''\n# x\n'''\n"])
def test_text_that_was_not_changed_is_the_same_after_an_editor(text: str) -> None:
    assert without_guide(with_guide(text), text) == text


def test_what_was_written_is_kept_and_the_guide_is_not() -> None:
    edited = with_guide('label = "a"\n').replace('"a"', '"b"')
    assert without_guide(edited, 'label = "a"\n') == 'label = "b"\n'
    assert without_guide('label = "b"', 'label = "a"\n') == 'label = "b"'


def test_what_is_appended_below_the_guide_is_kept() -> None:
    edited = with_guide('label = "a"\n') + 'model = "m"\n'
    assert parse_settings(without_guide(edited, 'label = "a"\n').encode()).model == "m"
    assert "#?" not in without_guide(edited, 'label = "a"\n')


def test_the_guide_is_valid_as_it_stands() -> None:
    assert parse_settings(with_guide('label = "a"').encode()).label == "a"


def test_lines_of_the_guide_are_valid_once_their_mark_is_removed() -> None:
    tables = ("#? env", "#? permissions", "#? budget", "#? limits", "#? network")
    lines = [line[3:] for line in GUIDE.split("\n") if line.startswith(tables)]
    assert len(lines) == 5
    for line in lines:
        parse_settings(line.partition("}  ")[0].encode() + b"}" * ("}  " in line))

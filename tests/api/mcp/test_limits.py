"""What the schemas promise is what the daemon keeps: a text at each bound is taken, one longer is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from api.mcp.tools import tools_for
from api.operations.base import Role
from meta.config import Config
from meta.errors import BadInput
from meta.names import MANAGER, AgentName, agent_name, commit_id
from meta.wire import limits
from reconciler.messaging.broker import Quota
from tests.api.conftest import Hive
from tests.support.mcp_client import call, texts

TOOLS = tools_for(Role.MANAGER)
LONG = AgentName("a" * 11)
BOUNDED = [
    pytest.param(tool.name, field, schema["maxLength"], id=f"{tool.name} {field}")
    for tool in TOOLS.values()
    for field, schema in tool.arguments.fields.items()
    if "maxLength" in schema and field != "commit_ref"
]
PATH = "/".join(["a" * 200] * 4 + ["a" * 196])
"""A path as long as one may be."""


@pytest.fixture
def line_limit() -> int:
    return Config().max_line_bytes


@pytest.fixture
async def manager(pods: Hive, tmp_path: Path) -> Hive:
    """The manager, an agent with the longest name, and a question to the manager."""
    pods.fake.names.append(LONG)
    (tmp_path / "states" / MANAGER).mkdir(parents=True, exist_ok=True)
    await pods.fake.questions.ask("alice", "?", (), False, None, "manager")
    return pods


def arguments(tool: str, **given: object) -> dict[str, Any]:
    """What makes a call right, with something else in it."""
    fields = TOOLS[tool].arguments.fields
    made = {name: fields[name]["examples"][0] for name in TOOLS[tool].arguments.required}
    if tool == "remind":
        made["seconds"] = 600
    made |= {key: LONG for key in ("to", "name", "agent") if key in made}
    return {**made, **({"id": 1} if "id" in made else {}), **given}


@pytest.mark.parametrize(("tool", "field", "most"), BOUNDED)
async def test_a_text_at_its_bound_is_taken_and_one_longer_is_refused(
    manager: Hive, tool: str, field: str, most: int
) -> None:
    text = PATH if field == "file_path" else "a" * most
    assert len(text) == most
    longer = await call(manager, MANAGER, tool, **arguments(tool, **{field: text + "a"}))
    assert (longer.is_error, texts(longer)[0][:7]) == (True, "error: ")
    taken = await call(manager, MANAGER, tool, **arguments(tool, **{field: text}))
    assert not taken.is_error, texts(taken)[0][:300]


async def test_options_at_their_bounds_are_taken_and_more_are_refused(manager: Hive) -> None:
    most = [f"{n:02}{'x' * (limits.OPTION_BYTES - 2)}" for n in range(limits.OPTIONS_MOST)]
    schema = TOOLS["ask"].arguments.fields["options"]
    assert (schema["maxItems"], schema["items"]["maxLength"]) == (len(most), len(most[0]))
    for options, error in (
        (most, False),
        ([*most, "x"], True),
        ([most[0] + "x"], True),
        (["a", "a"], True),
        ([""], True),
    ):
        asked = await call(manager, MANAGER, "ask", question="?", options=options)
        assert asked.is_error is error, texts(asked)


def test_every_text_of_a_tool_has_a_bound() -> None:
    for tool in TOOLS.values():
        for name, schema in tool.arguments.fields.items():
            if schema["type"] == "string" and "enum" not in schema:
                assert "maxLength" in schema, (tool.name, name)


@pytest.mark.parametrize(
    ("pattern", "check", "good", "bad"),
    [
        (limits.NAME_PATTERN, agent_name, ["a", "a-b", "a" * 11], ["", "A", "1a", "a-", "a" * 12, "a_b", "a\n"]),
        (limits.COMMIT_PATTERN, commit_id, ["0" * 7, "f" * 40], ["0" * 6, "0" * 41, "main", "F" * 7, "g" * 7]),
    ],
)
def test_a_pattern_says_what_the_check_does(pattern: str, check: Any, good: list[str], bad: list[str]) -> None:
    ecma = pattern.removesuffix("$") + r"\Z"  # in a JSON schema `$` is the end of the text, without a line end
    for text in good:
        assert check(text) == text
        assert re.search(ecma, text)
    for text in bad:
        assert not re.search(ecma, text)
        with pytest.raises(BadInput):
            check(text)


def test_the_brokers_bound_is_the_wires() -> None:
    assert Quota().body == limits.BODY_BYTES

"""The tools as models see them: schemas, what they take leniently, the words, the reference."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from api.mcp import reference
from api.mcp.arguments import request_from, unknown_arguments
from api.mcp.instructions import MAX_NAMES, instructions
from api.mcp.schema import arguments_of
from api.mcp.tools import ToolView, tools_for
from api.operations.base import Role
from meta.errors import BadInput
from meta.wire import agent, manager
from meta.wire.agent import Ask, CancelLooseEnd, Recv, Remind, Send
from meta.wire.common import At, InSeconds, Wire

SNAPSHOT = Path(__file__).parent / "data" / "tools.json"
ALL = {tool.name: tool for role in Role for tool in tools_for(role).values()}
REQUESTS = [
    *(agent.Send, agent.Recv, agent.Ask, agent.Answer, agent.Remind, agent.GetLooseEnds, agent.CancelLooseEnd),
    *(agent.Whoami, manager.RequestSpawn, manager.RequestApplyCommit, manager.Kill, manager.Start),
    *(manager.Restart, manager.Update, manager.GetLogs),
]


def read(request: type[Wire], **given: Any) -> Wire:
    return request_from(request, arguments_of(request), given)


def test_the_tools_are_as_they_were_agreed() -> None:
    """HIVE_UPDATE=1 writes the snapshot again; look at what changed."""
    seen = {
        role.value: {
            name: {"description": tool.description, "input_schema": tool.arguments.schema}
            for name, tool in tools_for(role).items()
        }
        for role in Role
    }
    if os.environ.get("HIVE_UPDATE") == "1":
        SNAPSHOT.write_text(json.dumps(seen, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert seen == json.loads(SNAPSHOT.read_text(encoding="utf-8"))


def test_the_reference_page_is_current() -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), "run `python -m api.mcp.reference`"


@pytest.mark.parametrize("tool", ALL.values(), ids=lambda tool: tool.name)
def test_the_examples_of_a_tool_fit_its_own_type(tool: ToolView) -> None:
    examples = {name: schema["examples"][0] for name, schema in tool.arguments.fields.items()}
    for choice in tool.arguments.choices:
        for names in list(choice.variants.values())[1:]:
            for name in names:
                del examples[name]
    assert isinstance(request_from(tool.request, tool.arguments, examples), tool.request)


@pytest.mark.parametrize("request_type", REQUESTS)
def test_every_argument_has_a_type_a_meaning_and_an_example_and_no_reference(request_type: type[Wire]) -> None:
    arguments = arguments_of(request_type)
    assert "cmd" not in arguments.fields
    for name, schema in arguments.fields.items():
        assert schema["type"] in ("string", "integer", "boolean", "array"), name
        assert schema["description"], name
        assert schema["examples"], name
    words = set(json.dumps(arguments.schema).replace('"', " ").split())
    assert not {"$ref", "$defs", "anyOf", "oneOf", "title"} & words


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"wait_seconds": "30"}, Recv(wait_seconds=30)),
        ({"wait_seconds": 30.0}, Recv(wait_seconds=30)),
        ({"wait_seconds": None}, Recv()),
        ({"wait_seconds": 10_000}, Recv(wait_seconds=10_000)),
        ({"question": "q", "options": '["a", "b"]'}, Ask(question="q", options=("a", "b"))),
        ({"question": "q", "options": "a", "multi": "true"}, Ask(question="q", options=("a",), multi=True)),
        ({"question": 7, "to": None}, Ask(question="7")),
        ({"to": "bob", "body": "x", "from": "operator"}, Send(to="bob", body="x")),
        ({"message": "m", "seconds": "60"}, Remind(message="m", timing=InSeconds(seconds=60))),
        ({"message": "m", "unix_timestamp": 5, "seconds": None}, Remind(message="m", timing=At(unix_timestamp=5))),
        (
            {"message": "m", "timing": {"timing_type": "at", "unix_timestamp": 5}},
            Remind(message="m", timing=At(unix_timestamp=5)),
        ),
    ],
)
def test_what_a_model_plainly_means_is_understood(given: dict[str, Any], wanted: Wire) -> None:
    assert read(type(wanted), **given) == wanted


@pytest.mark.parametrize(
    ("request_type", "given", "words"),
    [
        (Send, {"to": "bob"}, "body: this field is missing"),
        (Send, {"to": "bob", "body": ["x"]}, "body: "),
        (Send, {"to": True, "body": "x"}, "to: "),
        (Send, {"to": "bob", "body": "\ud800"}, "surrogate"),
        (Recv, {"wait_seconds": -1}, "wait_seconds: "),
        (Recv, {"wait_seconds": True}, "wait_seconds: "),
        (Recv, {"wait_seconds": "soon"}, "wait_seconds: "),
        (Recv, {"wait_seconds": 2**64}, "wait_seconds: "),
        (Remind, {"message": "m"}, "give either seconds or unix_timestamp"),
        (Remind, {"message": "m", "seconds": 1, "unix_timestamp": 2}, "give either seconds or unix_timestamp"),
        (CancelLooseEnd, {"kind": "approval", "id": 1}, "kind: "),
    ],
)
def test_what_is_wrong_is_said_with_what_would_fit(request_type: type[Wire], given: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        read(request_type, **given)
    assert caught.value.hint.startswith("the arguments are ")


def test_unknown_arguments_are_named() -> None:
    assert unknown_arguments(arguments_of(Send), {"to": "bob", "body": "x", "from": "y"}) == ["from"]
    assert unknown_arguments(arguments_of(Remind), {"message": "m", "timing": {}}) == []


def test_the_words_name_others_but_not_all_of_a_crowd() -> None:
    assert "You can write to operator, manager, bob, carol, and" in instructions(
        "alice", Role.AGENT, ["carol", "alice", "manager", "bob"]
    )
    crowd = [f"a{n:03}" for n in range(MAX_NAMES + 6)]
    assert "a039 and 6 more" in instructions("alice", Role.AGENT, crowd)


def test_the_daemon_starts_without_the_sdk() -> None:
    code = "import api.daemon.serve, api.mcp.app, sys; sys.exit('mcp' in sys.modules or 'starlette' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], timeout=60)
    assert done.returncode == 0

"""The key by which a runtime reaches its model: every place that asks gets the same one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.relay.egress import Misses
from harness.way_out.answer import parse_answer
from harness.way_out.way_out import WayOut
from meta.network.operator_file import OperatorFile, parse_operator_file
from meta.network.reach import ReachSettings, key_outside
from meta.network.routes import MODEL_ROUTES, model_route
from tests.harness.fake_way_out import fake_way_out

KEY = '[credentials.{0}]\nkind = "{1}"\nfile = "/k"\nagents = ["{2}"]\n'


def operator_file(*keys: tuple[str, str, str]) -> OperatorFile:
    return parse_operator_file("".join(KEY.format(*key) for key in keys).encode())


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ([("zwork", "anthropic", "alice"), ("aprivate", "anthropic", "alice")], "zwork"),
        ([("aprivate", "anthropic", "bob"), ("zwork", "anthropic", "alice")], "zwork"),
        ([("token", "anthropic-token", "alice"), ("key", "anthropic", "alice")], "key"),
        ([("openai", "openai", "alice")], ""),
    ],
)
async def test_of_several_keys_the_first_of_the_best_kind_counts_for_the_operator_and_for_the_cli(
    keys: list[tuple[str, str, str]], name: str, tmp_path: Path
) -> None:
    file = operator_file(*keys)
    assert model_route("claude", file.kinds("alice")) == key_outside(ReachSettings("alice", "claude"), file) == name
    async with fake_way_out() as fake:
        fake.answer = {"routes": file.kinds("alice"), "held": "", "refused": [], "next": 0}
        out = WayOut(fake.folder, "http://127.0.0.1:3128", "claude", tmp_path, Misses())
        await out.look()
    url = out.access().api(MODEL_ROUTES["claude"]).url
    assert url == (f"http://127.0.0.1:3128/{name}" if name else None)


def test_the_answer_keeps_the_order_of_the_keys() -> None:
    answer = parse_answer(json.dumps({"routes": {"z": "anthropic", "a": "anthropic"}, "next": 0}).encode())
    assert list(answer.routes) == ["z", "a"]

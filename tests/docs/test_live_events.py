"""docs/reference/live-events.md: each kind of event is there, with an example that is one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, get_args

from pydantic import Field, TypeAdapter

from harness.events.database import SCHEMA
from meta.wire.live import AnyItem, LiveEvent, from_object, to_object

PAGE = (Path(__file__).parents[2] / "docs/reference/live-events.md").read_text(encoding="utf-8")
ROWS = {row[1]: row[2] for row in re.finditer(r"^\| `(\w+)` \|.*\| `(\{.*\})` \|$", PAGE, re.MULTILINE)}
ITEM: TypeAdapter[AnyItem] = TypeAdapter(Annotated[AnyItem, Field(discriminator="type")])


def test_every_kind_has_an_example_that_is_an_event_with_all_its_fields() -> None:
    for event in get_args(LiveEvent):
        kind = event.model_fields["kind"].default
        example = json.loads(ROWS[kind])
        assert example["kind"] == kind
        assert to_object(from_object(example)) == example


def test_every_kind_of_item_has_an_example() -> None:
    for item in get_args(AnyItem):
        kind = item.model_fields["type"].default
        assert ITEM.validate_json(ROWS[kind]).model_dump() == json.loads(ROWS[kind])


def test_the_table_is_the_one_that_the_harness_makes() -> None:
    shown = " ".join(PAGE.partition("    CREATE TABLE")[2].partition("\n\n")[0].split())
    assert f"CREATE TABLE {shown}" in " ".join(SCHEMA.replace("IF NOT EXISTS ", "").split())

"""Writes docs/reference/mcp.md from the table: `python -m api.mcp.reference`. A test checks that it is current."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from api.mcp.schema import Schema
from api.mcp.tools import READS, ToolView, tools_for
from api.operations.base import Role

PAGE = Path(__file__).parents[2] / "docs/reference/mcp.md"

INTRODUCTION = """<!-- written by `python -m api.mcp.reference`; edit api/operations and meta/wire instead -->
# The tools

Every `http.sock` answers `/mcp`: the Model Context Protocol over streamable HTTP, stateless, of the 2026 era and of
the one before it. An agent's and the manager's `http.sock`, beside their `mcp.sock`, carry nothing else. Who calls is
whose socket it is; nothing in a request can change that.

- A result is plain text. After it stands, as a text of its own, how many messages wait: `3 unread`. The operator's
  results have no such line.
- What hive refuses is a tool's error, with a hint what to do.
- Of one of several arguments that exclude each other (`seconds`, `unix_timestamp`) exactly one is given.
- Arguments are read leniently where the meaning is plain: `"30"` is 30, null is left out. Unknown ones are passed over,
  and the result says so.
- `recv` waits at most 60 seconds. When its caller goes away meanwhile, or cancels, the message stays in the inbox.
- Verbs of the harness (`ack_turn`, `requeue_inflight`, `wake`, `recent`, `status`, `operator_msg`) are no tools.

Bounds: 16 connections to one socket, 60 s for a request's head, 30 s for its body, `HIVE_MAX_LINE_BYTES` and 16 KiB for
its size (a call that is longer is a tool's error, one that is eight times as long is not read at all), and 30 s in
which a peer takes nothing of an answer. Anything else than a POST to `/mcp` is answered with problem details.

A length in the tables is in characters; what counts is the bytes in UTF-8, the same for plain ASCII.
"""


def page() -> str:
    """The whole page."""
    return INTRODUCTION + "".join(f"\n{part}\n" for part in _tools())


def _tools() -> Iterator[str]:
    for tool in {name: tool for role in Role for name, tool in tools_for(role).items()}.values():
        yield "\n".join(_tool(tool))


def _tool(tool: ToolView) -> Iterator[str]:
    who = [role.value for role in Role if tool.name in tools_for(role)]
    hint = "; changes nothing" if tool.name in READS else ""
    yield f"## `{tool.name}`"
    yield ""
    yield f"{tool.description} For: {', '.join(who)}{hint}."
    if not tool.arguments.fields:
        return
    yield ""
    yield "| argument | type | | meaning | example |"
    yield "|---|---|---|---|---|"
    for name, schema in tool.arguments.fields.items():
        needed = "required" if name in tool.arguments.required else ""
        example = json.dumps(schema["examples"][0], ensure_ascii=False)
        yield f"| `{name}` | {_type(schema)} | {needed} | {schema['description']} | `{example}` |"


def _type(schema: Schema) -> str:
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    bounds = [words.format(schema[key]) for key, words in _BOUNDS.items() if key in schema]
    if schema["type"] != "array":
        return ", ".join([schema["type"], *bounds])
    most = [f"at most {schema['maxItems']} of them"] if "maxItems" in schema else []
    each = [f"each at most {schema['items']['maxLength']} long"] if "maxLength" in schema["items"] else []
    return ", ".join(["array of strings", *most, *each])


_BOUNDS = {"minimum": "from {}", "maximum": "to {}", "minLength": "at least {} long", "maxLength": "at most {} long"}


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

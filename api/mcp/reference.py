"""Write docs/reference/mcp.md from the table: `python -m api.mcp.reference`. A test checks that it is current."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from api.mcp.schema import Schema
from api.mcp.tools import ToolView, tools_for
from api.operations.base import Effect, Role

PAGE = Path(__file__).parents[2] / "docs/reference/mcp.md"

INTRODUCTION = """<!-- written by `python -m api.mcp.reference`; edit api/operations and meta/wire instead -->
# The tools

Every `http.sock` answers `/mcp`: the Model Context Protocol over streamable HTTP, stateless, of the 2026 era and of
the one before it. An agent's and the manager's `http.sock`, beside their `mcp.sock`, carry nothing else. The socket
decides who calls; nothing in a request can change that.

- A result is plain text. A second text after it has the number of unread messages: `3 unread`. The operator's results
  have no such line.
- If hive refuses a call, the result is a tool's error with a hint about what to do.
- Of several arguments that exclude each other (`seconds`, `unix_timestamp`) exactly one is given.
- Arguments are read leniently if the meaning is plain: `"30"` is 30, and null means that the argument is absent.
  Unknown arguments are ignored, and the result names them.
- `recv` waits at most 60 seconds. If its caller disconnects or cancels meanwhile, the message stays in the inbox.
- The harness's own requests (`ack_turn`, `requeue_inflight`, `wake`, `recent`, `status`, `operator_msg`) are not tools.

Limits: 16 connections to one socket; 60 s for a request's head and 30 s for its body; `HIVE_MAX_LINE_BYTES` plus 16 KiB
for its size; 30 s in which a peer takes nothing of an answer. A longer call gets a tool's error; a call that is eight
times as long is not read at all. Any request but a POST to `/mcp` is answered with problem details.

A length in the tables is in characters. hive counts the bytes in UTF-8, which are as many for plain ASCII.
"""


def page() -> str:
    """Return the whole page."""
    return INTRODUCTION + "".join(f"\n{part}\n" for part in _tools())


def _tools() -> Iterator[str]:
    for tool in {name: tool for role in Role for name, tool in tools_for(role).items()}.values():
        yield "\n".join(_tool(tool))


def _tool(tool: ToolView) -> Iterator[str]:
    who = [role.value for role in Role if tool.name in tools_for(role)]
    hint = "; changes nothing" if tool.operation.effect is Effect.READS else ""
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

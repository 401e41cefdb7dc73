"""An MCP server over stdio with one tool, `add`. Of the standard library only: it runs in an agent's sandbox."""

import json
import sys
from typing import Any


def answer(request: dict[str, Any]) -> dict[str, Any]:
    match request["method"]:
        case "initialize":
            version = request["params"]["protocolVersion"]
            server = {"name": "numbers", "version": "1"}
            return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": server}
        case "tools/list":
            number = {"type": "number"}
            schema = {"type": "object", "properties": {"a": number, "b": number}}
            return {"tools": [{"name": "add", "description": "Add two numbers.", "inputSchema": schema}]}
        case "tools/call":
            given = request["params"]["arguments"]
            return {"content": [{"type": "text", "text": f"the sum is {given['a'] + given['b']}"}]}
        case _:
            return {}


for line in sys.stdin:
    request = json.loads(line)
    if "id" in request:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": answer(request)}) + "\n")
        sys.stdout.flush()

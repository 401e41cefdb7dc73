"""An agent of the Agent Client Protocol for tests: a program that plays a stream, or behaves badly in one way.

acp_agent.py replay STREAM STATE    plays the stream; the file STATE counts the processes
acp_agent.py MODE                   one of the functions below
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from acp_player import Player, load  # type: ignore[import-not-found]

Json = dict[str, Any]
OPEN = {"protocolVersion": 1, "agentCapabilities": {"loadSession": True}}


def put(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def say(message: object) -> None:
    put(json.dumps(message) + "\n")


def answer(request: Json, result: object) -> None:
    say({"jsonrpc": "2.0", "id": request["id"], "result": result})


def update(**fields: object) -> None:
    say({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "s1", "update": fields}})


def text(words: str) -> None:
    update(sessionUpdate="agent_message_chunk", content={"type": "text", "text": words})


def requests() -> Iterator[Json]:
    for line in sys.stdin:
        yield json.loads(line)


def prompts() -> Iterator[Json]:
    """Answer everything well until a prompt comes, and go on after it."""
    for message in requests():
        if message.get("method") == "session/prompt":
            yield message
        elif "id" in message and "method" in message:
            answer(message, OPEN if message["method"] == "initialize" else {"sessionId": "s1"})


def replay(stream: str, state: str) -> None:
    count = len(Path(state).read_text()) if Path(state).exists() else 0
    Path(state).write_text("x" * (count + 1))
    processes = load(Path(stream))
    player = Player(processes[count], dies=count + 1 < len(processes))
    for message in requests():
        for line in player.take(message):
            say(line)
        if player.dead:
            os.kill(os.getpid(), signal.SIGKILL)


def good() -> None:
    for prompt in prompts():
        text(f"{len(prompt['params']['prompt'])} parts")
        answer(prompt, {"stopReason": "end_turn"})


def tools() -> None:
    """Take MCP servers over http, and fetch nothing from them."""
    for message in requests():
        if message.get("method") == "initialize":
            answer(message, {"protocolVersion": 1, "agentCapabilities": {"mcpCapabilities": {"http": True}}})
        elif message.get("method") == "session/prompt":
            text("asked")
            answer(message, {"stopReason": "end_turn"})
        elif "id" in message:
            answer(message, {"sessionId": "s1"})


def exits() -> None:
    sys.stderr.write("no such config\n")
    raise SystemExit(3)


def garbage() -> None:
    put("npm warn deprecated\n[1, 2]\n5\n{}\n\n")
    for prompt in prompts():
        os.write(1, b"\xff\xfe\n" + b"[" * 50_000 + b"\n")
        say({"jsonrpc": "2.0", "id": [1], "result": {}})
        say({"jsonrpc": "2.0", "method": "session/update", "params": [3]})
        update(sessionUpdate="agent_message_chunk", content={"type": "text", "text": 5})
        update(sessionUpdate="made_up", x=1)
        say({"jsonrpc": "2.0", "id": 7, "method": "fs/read_text_file", "params": {"path": "/etc/shadow"}})
        text("still here")
        answer(prompt, {"stopReason": "end_turn"})


def mute() -> None:
    for _ in requests():
        pass


def deaf() -> None:
    """Ignore SIGTERM and the end of the input, and start a shell in a session of its own that does the same."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for _ in prompts():
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        text(f"pid {child.pid}")
    while True:
        time.sleep(600)


def stops() -> None:
    for prompt in prompts():
        answer(prompt, {"stopReason": "paused_by_the_moon"})


def long() -> None:
    for prompt in prompts():
        put('{"x":"')
        for _ in range(50):
            put("a" * 1_000_000)
        put('"}\n')
        answer(prompt, {"stopReason": "end_turn"})


def dies() -> None:
    for _ in prompts():
        text("one moment")
        sys.stderr.write("out of memory\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)


def asks() -> None:
    """Ask if a tool may run, and end the turn when that is answered."""
    prompt = None
    for message in requests():
        if "method" not in message:
            text(json.dumps(message["result"]))
            say({"jsonrpc": "2.0", "id": prompt, "result": {"stopReason": "end_turn"}})
        elif message["method"] == "session/prompt":
            prompt = message["id"]
            options = [{"optionId": kind.upper(), "kind": kind, "name": kind} for kind in ("reject_once", "allow_once")]
            call = {"toolCallId": "c1", "title": "rm -rf build", "kind": "execute"}
            params = {"sessionId": "s1", "toolCall": call, "options": options}
            say({"jsonrpc": "2.0", "id": 99, "method": "session/request_permission", "params": params})
        elif "id" in message:
            answer(message, OPEN if message["method"] == "initialize" else {"sessionId": "s1"})


def models() -> None:
    """Offer a choice of models in the session."""
    for message in requests():
        match message.get("method"):
            case "initialize":
                answer(message, OPEN)
            case "session/set_config_option" if message["params"]["value"] != "small":
                say({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32602, "message": "no such model"}})
            case "session/new" | "session/set_config_option":
                answer(message, {"sessionId": "s1", "configOptions": [{"id": "brain", "category": "model"}]})
            case "session/prompt":
                answer(message, {"stopReason": "end_turn"})


def newer() -> None:
    for message in requests():
        answer(message, {"protocolVersion": 3})


if __name__ == "__main__":
    mode, *rest = [word for word in sys.argv[1:] if word not in ("acp", "--acp")]  # the words of a preset
    globals()[mode](*rest)

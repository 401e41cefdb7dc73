"""A harness that reports its runtime, obeys holds on its link and answers controls; standard library only.

Its inbox knows nothing of holds: it asks for messages all the time, and appends each one to /state/taken. A message
`stay` keeps it in a turn until it is paused. It runs as the tiny harness does.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from typing import Any

link_of: dict[str, Any] = {}


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.Thread(target=take_messages, daemon=True).start()
    while True:
        try:
            link = socket.socket(socket.AF_UNIX)
            link.connect(os.environ["HIVE_RUN"] + "/harness.sock")
            serve(link)
        except OSError:
            time.sleep(0.02)


def serve(link: socket.socket) -> None:
    link_of["link"] = link
    hello = {"generation": os.environ["HIVE_GENERATION"], "nonce": os.environ["HIVE_BOOT_NONCE"]}
    say(up="hello", **hello, state=link_of.get("state", "idle"))
    say(up="about", runtime="claude", program="2.1.329", model="haiku", override=link_of.get("override", ""))
    for line in link.makefile("rb"):
        down = json.loads(line)
        if down["down"] == "probe":
            say(up="state", state=link_of.get("state", "idle"), probe=down["probe"])
        elif down["down"] == "drain":
            change("drained")
        elif down["down"] == "hold":
            change("paused" if down["paused"] else "idle")
        elif down["down"] == "control":
            link_of["override"] = down["text"]
            known = down["verb"] == "model"
            say(up="done", id=down["id"], ok=known, text=f"the model {down['text']}" if known else "there is no turn")
            say(up="about", runtime="claude", program="2.1.329", model=down["text"], override=down["text"])


def change(state: str) -> None:
    link_of["state"] = state
    say(up="state", state=state)


def say(**line: object) -> None:
    link_of["link"].sendall(json.dumps(line).encode() + b"\n")


def take_messages() -> None:
    while True:
        try:
            inbox = socket.socket(socket.AF_UNIX)
            inbox.connect(os.environ["HIVE_RUN"] + "/mcp.sock")
            lines = inbox.makefile("rb")
            while True:
                inbox.sendall(b'{"cmd":"recv","wait_seconds":1}\n')
                message = json.loads(lines.readline())
                if message["kind"] == "message":
                    with open(os.environ["HIVE_STATE"] + "/taken", "a") as file:  # noqa: PTH123
                        file.write(message["body"] + "\n")
                    if message["body"] == "stay":
                        change("thinking")
        except (OSError, ValueError, KeyError):
            time.sleep(0.02)


main()
sys.exit(0)

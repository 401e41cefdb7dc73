"""The smallest harness that obeys the link protocol; standard library only, starts in 20 ms.

It runs with `python -I -S -c <this file>`, so that it needs only an interpreter inside the sandbox. It reads
`start.fault` and `start.exit` of agent.toml by hand. With a file `exit` in its state it ends with the code in there.
"""

import json
import os
import re
import signal
import socket
import sys
import time


def main() -> None:
    with open(os.environ["HIVE_CONFIG"] + "/agent.toml", encoding="utf-8") as file:  # noqa: PTH123 - starts sooner
        config = file.read()
    fault = re.search(r'fault = "([a-z-]+)"', config)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    os.write(1, f"generation {os.environ['HIVE_GENERATION']}\n".encode())
    if fault and fault[1] == "never-hello":
        signal.pause()
    if ending := re.search(r"^exit = ([0-9]+)$", config, re.MULTILINE):
        sys.exit(int(ending[1]))
    if os.path.exists(os.environ["HIVE_STATE"] + "/exit"):  # noqa: PTH110 - starts sooner
        with open(os.environ["HIVE_STATE"] + "/exit", encoding="ascii") as file:  # noqa: PTH123
            sys.exit(int(file.read()))
    while True:
        try:
            link = socket.socket(socket.AF_UNIX)
            link.connect(os.environ["HIVE_RUN"] + "/harness.sock")
            serve(link)
        except OSError:
            time.sleep(0.02)


def serve(link: socket.socket) -> None:
    hello = {"generation": os.environ["HIVE_GENERATION"], "nonce": os.environ["HIVE_BOOT_NONCE"], "state": "idle"}
    say(link, {"up": "hello", **hello})
    for line in link.makefile("rb"):
        down = json.loads(line)
        if down["down"] == "probe":
            say(link, {"up": "state", "state": "idle", "probe": down["probe"]})
        elif down["down"] == "drain":
            say(link, {"up": "state", "state": "drained"})
        else:
            say(link, {"up": "state", "state": "idle"})


def say(link: socket.socket, line: dict[str, object]) -> None:
    link.sendall(json.dumps(line).encode() + b"\n")


main()

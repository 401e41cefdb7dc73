"""The program of the hostile agent, inside its sandbox: it prints without end, and dies in mid-turn again and again.

Standard library only: it runs with `python -I -S -c <this file>`. The harness of tests/support/tiny_harness.py, which
says hello and nothing else, would be honest.
"""

import contextlib
import json
import os
import random
import signal
import socket
import threading
import time


def main() -> None:
    choices = random.Random(os.environ["HIVE_BOOT_NONCE"])
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.Thread(target=print_without_end, daemon=True).start()
    end = time.monotonic() + choices.uniform(2, 12)
    while True:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as link:
            link.connect(os.environ["HIVE_RUN"] + "/harness.sock")
            serve(link, end)
        time.sleep(0.05)


def print_without_end() -> None:
    block = b"y" * 4093 + b"\x1b[2J\n"
    while True:
        os.write(1, block)


def serve(link: socket.socket, end: float) -> None:
    hello = {"generation": os.environ["HIVE_GENERATION"], "nonce": os.environ["HIVE_BOOT_NONCE"], "state": "idle"}
    say(link, {"up": "hello", **hello})
    threading.Thread(target=die, args=(link, end), daemon=True).start()
    for line in link.makefile("rb"):
        down = json.loads(line)
        if down["down"] == "probe":
            say(link, {"up": "state", "state": "idle", "probe": down["probe"]})
        elif down["down"] == "drain":
            say(link, {"up": "state", "state": "drained"})


def die(link: socket.socket, end: float) -> None:
    """In mid-turn, as hive sees it."""
    time.sleep(max(0.0, end - time.monotonic()))
    with contextlib.suppress(OSError):
        say(link, {"up": "state", "state": "thinking"})
    os.kill(os.getpid(), signal.SIGKILL)


def say(link: socket.socket, line: dict[str, object]) -> None:
    link.sendall(json.dumps(line).encode() + b"\n")


main()

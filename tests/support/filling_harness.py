"""The beginning of a harness that fills the disk once /state/fill exists. The tiny harness follows it.

If /state/unlink exists, the file that fills the disk has no name.
"""

import os
import threading
import time


def fill() -> None:
    while not os.path.exists("/state/fill"):  # noqa: PTH110 - starts sooner
        time.sleep(0.01)
    with open("/state/filler", "ab", buffering=0) as file:  # noqa: PTH123
        if os.path.exists("/state/unlink"):  # noqa: PTH110
            os.unlink("/state/filler")  # noqa: PTH108
        while True:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    file.write(b"x" * size)
                except OSError:
                    time.sleep(0.001)


threading.Thread(target=fill, daemon=True).start()

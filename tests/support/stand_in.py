"""Stand in for a model: answer on a port of loopback until Ctrl-C. hive's operator file names it as an upstream.

    python -m tests.support.stand_in 8089

It does what a message says, see `fake_messages`; to any other message it answers with an echo.
"""

from __future__ import annotations

import signal
import sys

from tests.support.fake_messages_api import FakeMessages


def main(port: int) -> None:
    """Answer until a signal comes."""
    ends = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before there are threads, which inherit it
    with FakeMessages(port=port) as fake:
        sys.stdout.write(f"stands in for a model at {fake.url}; Ctrl-C ends it\n")
        sys.stdout.flush()
        signal.sigwait(ends)


if __name__ == "__main__":
    main(int(sys.argv[1]))

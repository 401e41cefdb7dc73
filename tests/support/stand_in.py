"""Stand in for the model of an agent: answer on the socket of its way out until Ctrl-C.

    python -m tests.support.stand_in .hive/run/egress/alice/egress.sock

It does what a message says, see `fake_messages`; to any other message it answers with an echo.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tests.support.fake_messages_api import FakeMessages


def main(path: Path) -> None:
    """Answer until a signal comes."""
    ends = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before there are threads, which inherit it
    with FakeMessages() as fake:
        fake.listen(path)
        sys.stdout.write(f"stands in for a model at {path}; Ctrl-C ends it\n")
        sys.stdout.flush()
        signal.sigwait(ends)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

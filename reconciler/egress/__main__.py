"""hive-egress: the agents' way out as a program, `python -m reconciler.egress --sockets DIR ...`.

It ends on SIGTERM. Everything it must remember is on its disk by then.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from meta.errors import HiveError
from reconciler.egress.limits import raise_open_files
from reconciler.egress.log import write_line
from reconciler.egress.options import Options, parse_options
from reconciler.egress.rights import give_up_rights
from reconciler.egress.server import Server
from reconciler.egress.state import lock_state
from reconciler.egress.workers import start_workers


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM. Return 2 if it cannot start."""
    options = parse_options(sys.argv[1:] if argv is None else argv, os.environ)
    os.umask(0o027)
    raise_open_files()
    try:
        give_up_rights()
        lock_state(options.state)
        asyncio.run(_run(options))
    except HiveError as error:
        write_line(f"hive-egress cannot start: {error.describe()}")
        return 2
    return 0


async def _run(options: Options) -> None:
    asyncio.get_running_loop().set_default_executor(start_workers())
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    server = Server(options)
    try:
        await server.start()
        write_line(f"hive-egress serves {options.sockets}")
        work, end = asyncio.create_task(server.run()), asyncio.create_task(ended.wait())
        await asyncio.wait({work, end}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
        work.cancel()
    finally:
        await server.close()


if __name__ == "__main__":
    sys.exit(main())

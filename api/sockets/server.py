"""An asyncio server on a bound socket. Apart from the listener, because commands of the CLI import that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from api.sockets.listener import Bound


async def serve(bound: Bound, protocol: Callable[[], asyncio.Protocol]) -> asyncio.Server:
    """Accept connections on `bound`, each with a protocol of its own. The server removes no file.

    `create_unix_server` is for a socket that has its path as its name: since Python 3.13 it looks the name up, and the
    name of this one led through a descriptor that is closed by now.
    """
    return await asyncio.get_running_loop().create_server(protocol, sock=bound.sock)

"""Network namespaces for tests: a host with an upstream, and an internet in which public addresses answer.

    with own_internet() as (host, internet):
        listener = internet.call(lambda: socket.create_server(("93.184.216.34", 443)))
        subprocess.run(host.command(["curl", "https://93.184.216.34"]))

A socket belongs to the namespace in which it was made, so a server's threads may be anywhere. Needs root, and the
program `ip`; nothing in a namespace reaches the machine's network.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
PUBLIC = "93.184.216.34"
PUBLIC_6 = "2606:2800:220:1::5"
PRIVATE = "10.1.2.3"
METADATA = "169.254.169.254"
HOST = "192.0.2.2"
"""The host's own address towards the internet."""
INTERNET = (PUBLIC, "93.184.216.35", PRIVATE, METADATA, "100.64.0.9", "172.16.0.9", "192.168.1.9")
"""What answers in the internet: a refusal of an address is then the proxy's doing, not the network's."""
MISSING = "network namespaces need root and the program `ip` (apt-get install iproute2)"

_CLONE_NEWNET = 0x4000_0000
_LIBC = ctypes.CDLL(None, use_errno=True)


def possible() -> bool:
    """Return True if this process may make network namespaces."""
    return os.geteuid() == 0 and shutil.which("ip") is not None and shutil.which("nsenter") is not None


class NetNamespace:
    """A network namespace, empty but for its loopback device. It lives as long as its file or a process in it."""

    def __init__(self) -> None:
        self._file = _elsewhere(_LIBC.unshare, _CLONE_NEWNET, lambda: os.open("/proc/thread-self/ns/net", os.O_RDONLY))
        self.path = Path(f"/proc/{os.getpid()}/fd/{self._file}")

    def call(self, function: Callable[[], T]) -> T:
        """Return what a function returns in this namespace: a socket, mostly."""
        return _elsewhere(_LIBC.setns, (self._file, _CLONE_NEWNET), function)

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return the command line that runs `argv` in this namespace."""
        return ["nsenter", f"--net={self.path}", "--", *argv]

    def configure(self, *lines: str) -> None:
        """Run lines of `ip`."""
        argv = self.command(["ip", "-batch", "-"])
        done = subprocess.run(argv, input="\n".join(lines), capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr

    def close(self) -> None:
        """Forget the namespace."""
        os.close(self._file)


@contextlib.contextmanager
def own_internet() -> Iterator[tuple[NetNamespace, NetNamespace]]:
    """Yield a host's namespace and that of an internet, with a cable between them."""
    with contextlib.closing(NetNamespace()) as host, contextlib.closing(NetNamespace()) as internet:
        host.configure(
            "link set lo up", f"link add up0 type veth peer name down0 netns {internet.path}", "link set up0 up"
        )
        internet.configure(
            "link set lo up",
            "link set down0 up",
            "addr add 192.0.2.1/24 dev down0",
            "addr add 2001:db8::1/64 dev down0 nodad",
            f"addr add {PUBLIC_6}/128 dev lo nodad",
            *(f"addr add {address}/32 dev lo" for address in INTERNET),
        )
        host.configure(
            f"addr add {HOST}/24 dev up0",
            "addr add 2001:db8::2/64 dev up0 nodad",
            "route add default via 192.0.2.1",
            "route add default via 2001:db8::1",
        )
        yield host, internet


def _elsewhere(change: Callable[..., int], argument: int | tuple[int, int], function: Callable[[], T]) -> T:
    """Call a function in a thread of its own that changed its namespace first."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            if change(*(argument if isinstance(argument, tuple) else (argument,))) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]

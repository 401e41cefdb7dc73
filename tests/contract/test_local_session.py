"""An agent on backend `local` gets nothing of the session in which the daemon was started."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from meta.process import sandbox
from meta.process.launcher import join_keyring
from tests.contract.localhost import ALICE, LINGER, Host
from tests.support.ambient_session import ignore_signals_of_libc, key, set_signals_of_libc

KEY = "hive-test-daemons-key"
REPORT = f"cat /proc/keys; grep -E 'Sig(Ign|Blk)|Seccomp:' /proc/self/status; umask; echo end; {LINGER}"


@pytest.fixture(autouse=True)
def session() -> Iterator[None]:
    """A session with a key, ignored and blocked signals and a narrower umask."""
    key(KEY.encode())
    reserved = ignore_signals_of_libc()
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    old = os.umask(0o026)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.umask(old)
    signal.signal(signal.SIGUSR1, before)
    set_signals_of_libc(reserved)
    join_keyring()


async def reported(host: Host) -> tuple[str, dict[str, str], str]:
    """The keys, the fields of the status and the umask that the agent sees."""
    text = await host.until_logged(ALICE, "end\n")
    lines = text.splitlines()
    fields = dict(line.split(":\t") for line in lines if ":\t" in line)
    return text, fields, lines[-2]


async def test_in_the_sandbox(local_host: Host) -> None:
    local_host.script = REPORT
    await local_host.bring_up(ALICE)
    text, fields, umask = await reported(local_host)
    assert KEY not in text
    assert (int(fields["SigIgn"], 16), int(fields["SigBlk"], 16), umask) == (0, 0, "0022")
    assert fields["Seccomp"] == "2"


async def test_without_a_sandbox(open_host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "available", lambda: None)
    open_host.config = open_host.config.model_copy(update={"isolation": "unsafe-none"})
    await open_host.reopen()
    open_host.script = REPORT
    await open_host.bring_up(ALICE)
    text, fields, umask = await reported(open_host)
    assert KEY not in text
    assert (int(fields["SigIgn"], 16), int(fields["SigBlk"], 16), umask) == (0, 0, "0022")

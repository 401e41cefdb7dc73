"""The filter in real sandboxes: each row tried by a program inside, as an agent of root's and of an ordinary user's."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import subprocess
from typing import Any

import pytest

from meta.process import sandbox
from meta.process.sandbox import Sandbox
from meta.process.seccomp.table import CALLS
from tests.support.in_sandbox import PYTHON, command, probe

HERE = "x86_64" if os.uname().machine == "x86_64" else "aarch64"
pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be another user"),
    pytest.mark.skipif(sandbox.available() is None, reason="bubblewrap is not installed"),
]


@pytest.fixture(scope="module", params=["agent", "root", "user"])
def seen(request: pytest.FixtureRequest) -> Any:
    """What the prober saw inside: as an agent with its own uid, as root without one, as an ordinary user."""
    argv = command(request.param, *probe("prober.py"))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=50, stdin=subprocess.DEVNULL, cwd="/")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_call_of_the_table_gets_its_error(seen: Any) -> None:
    expected = {call.name: call.error for call in CALLS if getattr(call, HERE) is not None}
    assert seen["calls"] == expected


def test_a_bit_in_the_upper_half_of_an_argument_changes_nothing(seen: Any) -> None:
    assert seen["high"] == {"ioctl": errno.EPERM, "unshare": errno.EPERM, "fcntl": errno.EPERM}


def test_what_a_condition_does_not_mean_works(seen: Any) -> None:
    assert seen["harmless"] == {"unshare": 0, "ioctl": errno.ENOTTY, "personality": 0, "ptrace": 0}


def test_no_file_can_be_leased_or_delegated_to_make_others_wait_in_open(seen: Any) -> None:
    assert seen["leases"] == dict.fromkeys(("write lease", "read lease", "delegation", "notify"), errno.EPERM)


def test_locks_flags_and_copies_of_descriptors_work(seen: Any) -> None:
    assert set(seen["fcntl"].values()) == {0}
    assert {"F_SETFL", "F_SETLK", "F_OFD_SETLK", "F_DUPFD", "F_DUPFD_CLOEXEC", "F_GETLEASE"} <= seen["fcntl"].keys()


def test_only_the_allowed_socket_families_open(seen: Any) -> None:
    families = {int(family): error for family, error in seen["families"].items()}
    assert {family for family, error in families.items() if error == 0} == {1, 2, 10, 16}
    assert set(families.values()) == {0, errno.EAFNOSUPPORT}


def test_of_netlink_only_the_routes_are_open_and_of_the_internet_tcp_and_udp(seen: Any) -> None:
    assert [int(protocol) for protocol, error in seen["netlink"].items() if error == 0] == [0]
    assert set(seen["netlink"].values()) == {0, errno.EPROTONOSUPPORT}
    assert seen["inet"] == {
        "tcp": 0,
        "udp": 0,
        "dccp": errno.ESOCKTNOSUPPORT,
        "sctp": errno.EPROTONOSUPPORT,
        "mptcp": errno.EPROTONOSUPPORT,
    }


def test_other_ways_into_the_kernel_and_younger_calls_are_refused(seen: Any) -> None:
    assert (seen["young"], seen["x32"]) == (errno.ENOSYS, errno.ENOSYS)
    if HERE == "x86_64":
        assert seen["int80"] < 0


def test_landlock_stays(seen: Any) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    outside = 0 if libc.syscall(444, None, 0, 1) != -1 else ctypes.get_errno()
    assert seen["landlock"] == outside


def test_the_first_process_of_the_sandbox_is_under_the_filter_too(seen: Any) -> None:
    assert seen["first"] == 2


WORK = """
import subprocess, threading, asyncio
results = []
threads = [threading.Thread(target=results.append, args=(1,)) for _ in range(8)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
assert len(results) == 8
for extra in ({}, {"start_new_session": True}, {"close_fds": False}):
    done = subprocess.run(["/bin/sh", "-c", "echo $((6 * 7))"], capture_output=True, text=True, **extra)
    assert done.stdout == "42\\n"
async def main():
    process = await asyncio.create_subprocess_exec("git", "init", "-q", "/tmp/repo")
    assert await process.wait() == 0
asyncio.run(main())
commit = "git -c user.name=a -c user.email=a@b commit -qm a"
script = f"cd /tmp/repo && echo x >a && git add a && {commit} && git log --oneline | cat"
assert subprocess.run(["bash", "-c", script], capture_output=True, text=True).stdout.count("\\n") == 1
print("worked")
"""


@pytest.mark.parametrize("who", ["agent", "root", "user"])
def test_threads_programs_git_and_bash_work(who: str) -> None:
    box = Sandbox(env=(("PATH", os.environ["PATH"]), ("HOME", "/tmp")))
    argv = command(who, box, [PYTHON, "-c", WORK])
    done = subprocess.run(argv, capture_output=True, text=True, timeout=50, stdin=subprocess.DEVNULL, cwd="/")
    assert (done.returncode, done.stdout) == (0, "worked\n"), done.stderr


def test_a_machine_without_a_table_gets_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    from meta.errors import Refused

    odd = os.uname_result(("Linux", "x", "6", "1", "riscv64"))
    monkeypatch.setattr(os, "uname", lambda: odd)
    with pytest.raises(Refused, match="riscv64"):
        sandbox.detect()

"""Attempts to reach processes and to become root of the host from inside a container of backend `nixos`.

As the harness's user and as the container's root. Each has a control: the same where it is allowed, which succeeds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from meta.config import Config
from meta.errors import Refused
from reconciler.privileged.values import HARNESS_UID, UIDS
from reconciler.upkeep.disk.limits import limits_of, use_of
from reconciler.upkeep.disk.measure import Measured
from tests.support.systemd.host import HOME, USER
from tests.systemd.inside.attempts import DONE, inside, outside, succeeded
from tests.systemd.inside.conftest import UID_BASES, WHERE, NixosHost, systemctl
from tests.systemd.inside.entered import SECONDS, USERS, User, enter
from tests.systemd.inside.surroundings import ALICE, BOB, CANARY, HELPER, SECRET, guarded_canary, listening, make_repos

BASE = UID_BASES[ALICE]
OWNERS: dict[User, int] = {"agent": BASE + HARNESS_UID, "root": BASE}
"""Whose on the host is what a user of alice makes."""


@pytest.fixture(autouse=True)
def canary() -> Iterator[None]:
    """Every test."""
    with guarded_canary():
        yield


# processes
FOREIGN = """
pid, mark = int(words[0]), words[1].encode()
def marked(number):
    try:
        with open(f"/proc/{number}/cmdline", "rb") as file:
            return mark in file.read() and number != os.getpid()
    except OSError:
        return False
found = [number for number in map(int, filter(str.isdigit, os.listdir("/proc"))) if marked(number)]
said["seen"] = str(len(found))
said["the same number"] = str(os.path.exists(f"/proc/{pid}") and not marked(pid))
ATTACH, DETACH = 16, 17
def trace():
    c("ptrace", ATTACH, pid, None, None)
    os.waitpid(pid, 0x40000000)
    c("ptrace", DETACH, pid, None, None)
attempt("signal", os.kill, pid, 0)
attempt("pidfd", os.pidfd_open, pid)
attempt("root", os.listdir, f"/proc/{pid}/root")
attempt("memory", open, f"/proc/{pid}/mem", "r+b")
attempt("trace", trace)
"""
OWN_CHILD = """
import subprocess
child = subprocess.Popen(["/usr/bin/sleep", words[1]])
words[0] = str(child.pid)
"""


async def test_processes_of_the_host_and_of_another_agent_are_out_of_reach(nixos_host: NixosHost) -> None:
    alice, mark = await enter(nixos_host, ALICE), "987.0625"
    sleeper = subprocess.Popen(["/usr/bin/sleep", mark])
    try:
        control = outside(FOREIGN, str(sleeper.pid), mark)
        assert control["seen"] == "1"
        assert len(succeeded(control)) == 5
        for user in USERS:
            said = inside(alice, user, FOREIGN, str(sleeper.pid), mark)
            assert said["seen"] == "0"
            assert said["the same number"] == "True" or succeeded(said) == []
            own = inside(alice, user, OWN_CHILD + FOREIGN, "0", mark)
            assert len(succeeded(own)) == 5, own
        # to all processes that there are: it ends its own container, and nothing else
        alice.run("/usr/bin/python3", "-c", "import os; os.kill(-1, 9)", user="root")
        await nixos_host.until_down(ALICE)
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait(10)


# root
BREAK_OUT = """
import stat
for number, folder in ((os.makedev(254, 0), "/state"), (os.makedev(7, 0), "/tmp"), (os.makedev(8, 0), "/dev/shm")):
    attempt(f"mknod {folder}", os.mknod, f"{folder}/disk-{os.getuid()}", 0o600 | stat.S_IFBLK, number)
attempt("mknod mem", os.mknod, f"/state/mem-{os.getuid()}", 0o600 | stat.S_IFCHR, os.makedev(1, 1))
for device in ("mem", "kmem", "port", "vda", "sda", "loop0", "kmsg"):
    attempt(device, open, f"/dev/{device}", "rb")
for source in ("/dev/vda", "/dev/loop0", "/dev/sda"):
    for kind in (b"ext4", b"btrfs", b"vfat"):
        attempt(f"mount {source} {kind}", c, "mount", source.encode(), b"/mnt", kind, 0, None)
for path in ("kernel/core_pattern", "kernel/modprobe", "kernel/sysrq", "fs/suid_dumpable", "vm/drop_caches"):
    attempt(path, write, f"/proc/sys/{path}", "1")
attempt("sysrq", write, "/proc/sysrq-trigger", "h")
attempt("uevent", write, "/sys/kernel/uevent_helper", "/state/x")
attempt("kcore", open, "/proc/kcore", "rb")
attempt("module", c, "init_module", b"x", 1, b"")
attempt("clock", c, "settimeofday", struct.pack("qq", 10**9, 0), None)
attempt("uid", os.setresuid, 65536, 65536, 65536)
attempt("gid", os.setresgid, 65536, 65536, 65536)
attempt("map", write, "/proc/self/uid_map", "0 0 4294967295")
"""
ALLOWED = """
attempt("pipe", os.mkfifo, f"/state/pipe-{os.getuid()}")
attempt("null", open, "/dev/null", "rb")
attempt("uid", os.setresuid, os.getuid(), os.getuid(), os.getuid())
"""
MKNOD = "attempt('mknod', os.mknod, words[0], 0o600 | 0o060000, os.makedev(254, 0))"
CHROOT = """
os.makedirs("/tmp/jail", exist_ok=True)
top = os.open("/", os.O_RDONLY)
attempt("chroot", os.chroot, "/tmp/jail")
os.fchdir(top)
for _ in range(64):
    os.chdir("..")
attempt("out again", os.chroot, ".")
attempt("canary", open, "/etc/hive-canary")
attempt("own", open, "/state/own-mark")
"""


async def test_root_of_a_container_gets_no_device_no_mount_and_nothing_of_the_kernel(nixos_host: NixosHost) -> None:
    alice = await enter(nixos_host, ALICE)
    alice.text("/usr/bin/touch", "/state/own-mark", user="root")
    for user in USERS:
        assert succeeded(inside(alice, user, BREAK_OUT)) == []
        assert succeeded(inside(alice, user, ALLOWED)) == ["pipe", "null", "uid"]
        assert outside(MKNOD, str(HOME / f"disk-{user}")) == {"mknod": DONE}
    said = inside(alice, "root", CHROOT)
    assert said == {"chroot": DONE, "out again": DONE, "canary": "ENOENT", "own": DONE}
    assert inside(alice, "agent", "attempt('chroot', os.chroot, '/tmp')") == {"chroot": "EPERM"}


def run_as_user(path: Path, *words: str) -> str:
    """What a program of the agent's says when an ordinary user of the host runs it; its directory is closed to them."""
    fd = os.open(path, os.O_RDONLY)
    try:
        done = subprocess.run(
            [f"/proc/self/fd/{fd}", *words],
            pass_fds=(fd,),
            user=USER,
            group=USER,
            extra_groups=[],
            capture_output=True,
            text=True,
            timeout=10,
        )
    finally:
        os.close(fd)
    return done.stdout.strip()


MIGHTY = """
import shutil
shutil.copy("/usr/bin/cat", f"{words[0]}/cat")
os.chmod(f"{words[0]}/cat", 0o755)
attempt("capability", os.setxattr, f"{words[0]}/cat", "security.capability", struct.pack("<5I", 0x02000001, 2, 0, 0, 0))
"""


async def test_a_setuid_program_made_inside_is_outside_a_program_of_the_range(nixos_host: NixosHost) -> None:
    alice, state = await enter(nixos_host, ALICE), nixos_host.layout.agent_state(ALICE)
    for user, owner in OWNERS.items():
        alice.text("/bin/sh", "-c", f"cp /usr/bin/id /state/id-{user} && chmod 6755 /state/id-{user}", user=user)
        made = state / f"id-{user}"
        assert (made.stat().st_uid, made.stat().st_mode & 0o7777) == (owner, 0o6755)
        assert run_as_user(made, "-u") == str(owner)
    control = HOME / "id-of-root"
    shutil.copy("/usr/bin/id", control)
    control.chmod(0o4755)
    assert run_as_user(control, "-u") == "0"
    control.unlink()


async def test_a_capability_that_a_containers_root_gives_a_file_is_none_outside(nixos_host: NixosHost) -> None:
    alice, state = await enter(nixos_host, ALICE), nixos_host.layout.agent_state(ALICE)
    assert inside(alice, "agent", MIGHTY, "/home/agent") == {"capability": "EPERM"}
    assert inside(alice, "root", MIGHTY, "/state") == {"capability": DONE}
    assert run_as_user(state / "cat", str(CANARY)) == ""
    assert outside(MIGHTY, str(HOME)) == {"capability": DONE}
    assert run_as_user(HOME / "cat", str(CANARY)) == SECRET
    (HOME / "cat").unlink()


NESTED = """
CLONE_NEWUSER = 0x10000000
def nested(lines):
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        libc.unshare(CLONE_NEWUSER)
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    try:
        write(f"/proc/{child}/uid_map", lines)
    finally:
        os.write(go[1], b"x")
        os.waitpid(child, 0)
for lines in words:
    attempt(lines, nested, lines)
"""


async def test_a_user_namespace_within_the_container_gives_no_uid_beyond_its_range(nixos_host: NixosHost) -> None:
    alice = await enter(nixos_host, ALICE)
    beyond = (f"0 0 {UIDS + 1}", f"0 {UIDS} 1", "0 0 4294967295", f"1 {UIDS - 1} 2")
    assert succeeded(inside(alice, "root", NESTED, *beyond, f"0 0 {UIDS}")) == [f"0 0 {UIDS}"]
    said = inside(alice, "agent", NESTED, *beyond, "0 0 1", f"0 {HARNESS_UID} 1")
    assert succeeded(said) == [f"0 {HARNESS_UID} 1"]
    folders = {"agent": nixos_host.layout.agent_state(ALICE), "root": Path("/var/lib/nixos-containers/alice/root")}
    for user, owner in OWNERS.items():
        make = f"id -u && touch {'/state' if user == 'agent' else '/root'}/nested"
        assert alice.text("/usr/bin/unshare", "-Ur", "/bin/sh", "-c", make, user=user).split() == ["0"]
        assert (folders[user] / "nested").stat().st_uid == owner


OUT = """
own, peer = words[0], int(words[1])
private, closed, sockets = (names.split(",") for names in words[2:])
attempt("own", write, own)
for path in private:
    attempt(f"read {path}", os.listdir if os.path.isdir(path) else open, path)
for path in private + closed if os.getuid() else []:
    attempt(f"make in {path}", write, f"{path}/planted")
    attempt(f"change {path}", open, path, "a")
    attempt(f"mode {path}", os.chmod, path, 0o777)
attempt("signal", os.kill, peer, 0)
for path in sockets:
    with socket.socket(socket.AF_UNIX) as one:
        attempt(path, one.connect, path)
"""


async def test_the_uids_of_a_container_open_nothing_of_others_even_outside_of_it(nixos_host: NixosHost) -> None:
    """The second wall: what a process would find that got out of its namespaces, with its uid."""
    await enter(nixos_host, BOB)
    layout = nixos_host.layout
    await nixos_host.backend.create(ALICE, nixos_host.settings(ALICE))
    await make_repos(nixos_host, HELPER)
    for folder in (layout.agent(BOB), layout.agent(BOB).parent, layout.state):
        folder.chmod(0o711)  # as a daemon has them that is not root
    private = [layout.agent_state(BOB), layout.agent_home(BOB), layout.sockets(BOB), CANARY, Path("/etc/shadow")]
    closed = [layout.applied(ALICE), layout.applied_git(ALICE), layout.meta, layout.meta_git, layout.state]
    closed += [layout.runtime, layout.backend("nixos") / BOB, layout.proposed(ALICE), layout.proposed_config(ALICE)]
    closed += [layout.agent(ALICE), layout.sockets(ALICE), WHERE.etc, WHERE.etc / "bob.conf"]
    sockets = [layout.host_socket, layout.http_socket, layout.mcp_socket(BOB), layout.harness_socket(BOB)]
    sockets += [Path("/run/hive-privileged/socket")]
    lists = [",".join(map(str, paths)) for paths in (private, closed, sockets)]
    peer = str(nixos_host.harness(BOB))
    with listening(layout):
        for uid in OWNERS.values():
            own = HOME / f"own-{uid}"
            own.mkdir()
            os.chown(own, uid, uid)
            assert succeeded(outside(OUT, str(own / "planted"), peer, *lists, uid=uid)) == ["own"]
            shutil.rmtree(own)
        control = outside(OUT, "/run/own", peer, *lists)
    assert succeeded(control) == list(control), control


GROUPS = """
for controller in ("memory", "pids", "devices", "cpu"):
    top = f"/tmp/group-{controller}"
    os.makedirs(top, exist_ok=True)
    libc.mount(b"none", top.encode(), b"cgroup", 0, controller.encode())
def put(path, text):
    os.write(os.open(path, os.O_WRONLY), text.encode())  # makes no file where there is none
for path, text in (pair.split("=") for pair in words):
    attempt(path, put, path, text)
"""


async def test_root_of_a_container_cannot_raise_its_own_limits(nixos_host: NixosHost) -> None:
    alice = await enter(nixos_host, ALICE)
    wanted = {"memory.limit_in_bytes": "-1", "pids.max": "max", "devices.allow": "a", "cpu.cfs_quota_us": "-1"}
    groups = [f"/tmp/group-{name.partition('.')[0]}/{name}={text}" for name, text in wanted.items()]
    groups += ["/tmp/group-memory/release_agent=/state/x", "/tmp/group-memory/cgroup.procs=1"]
    groups += ["/sys/fs/cgroup/memory.max=max", "/sys/fs/cgroup/pids.max=max"]
    for user in USERS:
        assert succeeded(inside(alice, user, GROUPS, *groups)) == []
    unit = Path("/sys/fs/cgroup/memory/machine.slice/container@alice.service/memory.limit_in_bytes")
    if unit.exists():  # the control; elsewhere the container has no such file, or must not have
        assert succeeded(outside(GROUPS, f"{unit}={unit.read_text().strip()}")) == [str(unit)]


LINKS = "cd / && rmdir /root && ln -s {0} /root && rm -f /etc/machine-id && ln -s {0}/made /etc/machine-id"


async def test_links_in_a_containers_root_do_not_lead_the_start_script_of_the_host_out(nixos_host: NixosHost) -> None:
    alice, target, root = await enter(nixos_host, ALICE), HOME / "followed", Path("/var/lib/nixos-containers/alice")
    target.mkdir(mode=0o755)
    try:
        alice.text("/bin/sh", "-ec", LINKS.format(target), user="root")
        await nixos_host.backend.stop(ALICE, 5)
        with pytest.raises(Refused, match="alice/etc/machine-id is a symlink"):
            await nixos_host.backend.start(ALICE, nixos_host.launch(nixos_host.generation(ALICE)))
        (root / "etc/machine-id").unlink()
        with pytest.raises(Refused, match="alice/root is a symlink"):
            await nixos_host.backend.start(ALICE, nixos_host.launch(nixos_host.generation(ALICE)))
        assert target.stat().st_mode & 0o777 == 0o755
        systemctl("start", "container@alice.service")  # the control: the script alone follows it
        assert target.stat().st_mode & 0o777 == 0o700
    finally:
        (root / "root").unlink(missing_ok=True)
        target.rmdir()


async def test_what_a_container_writes_anywhere_counts_and_a_full_one_is_seen(nixos_host: NixosHost) -> None:
    """The disk limit works on what the root helper counts, since the daemon may not read these directories."""
    roots = "/var/lib/nixos-containers"
    # on the overlay of this host a file seems to lie on another file system than its directory
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", roots], check=True, timeout=SECONDS)
    try:
        alice = await enter(nixos_host, ALICE)
        before = await nixos_host.backend.measure(ALICE)
        alice.text("/bin/sh", "-c", "mkdir /var/kept && head -c 4M /dev/zero >/var/kept/filled", user="root")
        after = await nixos_host.backend.measure(ALICE)
    finally:
        subprocess.run(["umount", "--lazy", roots], check=True, timeout=SECONDS)
    assert before is not None
    assert after is not None
    assert after.complete
    assert 4 * 2**20 <= after.bytes - before.bytes < 5 * 2**20
    limits = limits_of(Config.model_validate({"agent_disk_mib": 4}), None, None)
    for held, over in ((before, False), (after, True)):
        assert use_of(Measured(held.bytes, held.complete, held.inodes), limits, full=False).over is over

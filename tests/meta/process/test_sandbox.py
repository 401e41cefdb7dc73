"""Sandboxes, with real bubblewrap."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from meta.errors import Refused
from meta.process import run, sandbox
from meta.process.sandbox import Host, Sandbox
from tests.support.programs import until

UID = 524_288
needs_bwrap = pytest.mark.skipif(sandbox.available() is None, reason="bubblewrap is not installed")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can hand a sandbox to another uid")
pytestmark = pytest.mark.bwrap

PLAIN = Host(bwrap="/bin/bwrap", setpriv="/bin/setpriv", root=True, system=("/usr",), links=(("usr/bin", "/bin"),))
CLOSURE = tuple((path, path) for path in sandbox.python_closure())


@pytest.fixture
def open_path(tmp_path: Path) -> Path:
    """A directory that another uid can reach (pytest makes its own 0700)."""
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    return tmp_path


async def python(box: Sandbox, code: str) -> dict[str, object]:
    """Run code in the sandbox that puts what it saw into `seen`."""
    whole = f"seen = {{}}\n{code}\nimport json; print(json.dumps(seen))"
    done = await run.run(sandbox.command(box, [sys.executable, "-c", whole]), deadline=20)
    seen = json.loads(done.stdout)
    assert isinstance(seen, dict)
    return seen


def options(command: list[str], option: str, count: int) -> list[tuple[str, ...]]:
    return [tuple(command[i + 1 : i + 1 + count]) for i, word in enumerate(command) if word == option]


def test_a_command_line_is_made_without_looking_at_the_host() -> None:
    box = Sandbox(
        read_only=((Path("/a/b/c"), Path("/state/inner/x")),),
        writable=((Path("/w"), Path("/state")),),
        env=(("KEY", "value"),),
        uid=UID,
        hostname="alice",
        cwd=Path("/state"),
    )
    command = sandbox.command(box, ["prog", "arg"], PLAIN)
    assert command[0] == "/bin/bwrap"
    assert {"--die-with-parent", "--new-session", "--unshare-pid", "--unshare-ipc", "--unshare-uts"} < set(command)
    assert "--unshare-net" in command
    assert "--unshare-user" not in command
    assert command.index("/w") < command.index("/a/b/c")
    assert options(command, "--setenv", 2) == [("KEY", "value")]
    assert options(command, "--cap-add", 1) == [("CAP_SETUID",), ("CAP_SETGID",), ("CAP_SETPCAP",)]
    tail = command[command.index("--") + 1 :]
    assert tail[:5] == ["/bin/setpriv", "--reuid", str(UID), "--regid", str(UID)]
    assert tail[-3:] == ["--", "prog", "arg"]


def test_root_without_a_uid_and_an_ordinary_user_get_a_user_namespace_and_no_capability() -> None:
    for box in (Sandbox(network=True), Sandbox(network=True, uid=0)):
        as_root = sandbox.command(box, ["prog"], PLAIN)
        assert as_root[-4:] == ["--cap-drop", "ALL", "--", "prog"]
        assert "--unshare-user" in as_root
        assert "--unshare-net" not in as_root
    ordinary = Host(bwrap="/bin/bwrap", setpriv="/bin/setpriv", root=False)
    as_user = sandbox.command(Sandbox(uid=UID), ["prog"], ordinary)
    assert "--unshare-user" in as_user
    assert as_user[-2:] == ["--", "prog"]


HOSTS_OWN = """
import os
def shut(path):
    try:
        return not os.path.exists(path) or os.path.isdir(path) and not os.listdir(path) or not open(path, "rb").read(1)
    except PermissionError:
        return True
settings = ["sys/kernel/core_pattern", "sys/kernel/modprobe", "sys/vm/drop_caches", "sysrq-trigger"]
seen["written"] = [name for name in settings if os.access(f"/proc/{name}", os.W_OK)]
folders = [f for top in ("sys", "irq", "bus", "fs") for f, _, _ in os.walk(f"/proc/{top}")]
seen["written"] += [folder for folder in folders if not os.statvfs(folder).f_flag & os.ST_RDONLY]
secrets = ["kcore", "keys", "key-users", "timer_list", "kmsg", "kallsyms", "interrupts", "acpi", "scsi"]
seen["read"] = [name for name in secrets if not shut(f"/proc/{name}")]
seen["sys"] = os.path.exists("/sys")
"""


@needs_bwrap
@pytest.mark.parametrize("uid", [None, 0, UID])
async def test_what_of_proc_belongs_to_the_host_is_read_only_or_empty(uid: int | None) -> None:
    seen = await python(Sandbox(read_only=CLOSURE, uid=uid), HOSTS_OWN)
    assert seen == {"written": [], "read": [], "sys": False}


@needs_bwrap
@needs_root
@pytest.mark.parametrize("uid", [None, 0])
async def test_root_without_a_uid_is_in_a_user_namespace_of_one_uid(uid: int | None) -> None:
    code = "seen['map'] = open('/proc/self/uid_map').read().split(); seen['ns'] = os.readlink('/proc/self/ns/user')"
    seen = await python(Sandbox(read_only=CLOSURE, uid=uid), f"import os; {code}")
    assert seen["map"] == ["0", "0", "1"]
    assert seen["ns"] != str(Path("/proc/self/ns/user").readlink())


def test_without_bubblewrap_it_is_refused_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sandbox.available() is None
    with pytest.raises(Refused, match="bubblewrap") as caught:
        sandbox.command(Sandbox(), ["true"])
    assert "apt-get install bubblewrap" in caught.value.hint


def test_the_python_closure_shows_the_packages_and_never_the_checkout() -> None:
    closure = sandbox.python_closure()
    checkout = Path(run.__file__).parents[2]
    assert Path(run.__file__).parents[1] in closure
    assert all(not checkout.is_relative_to(path) for path in closure)
    assert all(path.is_dir() for path in closure)


@needs_bwrap
@needs_root
async def test_the_harness_can_be_imported_under_an_agents_uid() -> None:
    seen = await python(
        Sandbox(read_only=CLOSURE, uid=UID, hostname="alice"),
        "import harness, meta.errors, meta.wire, pydantic, os\n"
        "seen['ids'] = [os.getresuid(), os.getresgid(), os.getgroups()]\n"
        "seen['name'] = os.uname().nodename",
    )
    assert seen == {"ids": [[UID] * 3, [UID] * 3, []], "name": "alice"}


@needs_bwrap
@needs_root
async def test_nothing_of_the_host_is_seen_but_what_was_bound(open_path: Path) -> None:
    mine, theirs = open_path / "mine", open_path / "theirs"
    for directory, uid in ((mine, UID), (theirs, UID + 65536)):
        directory.mkdir()
        (directory / "file").write_text("x")
        os.chown(directory, uid, uid)
    seen = await python(
        Sandbox(read_only=CLOSURE, writable=((mine, Path("/state")),), uid=UID, cwd=Path("/state"), env=(("A", "b"),)),
        "import os\n"
        "seen['root'] = sorted(os.listdir('/'))\n"
        "seen['here'] = os.listdir('.')\n"
        "open('/state/new', 'w').close(); open('/tmp/new', 'w').close(); open('/dev/shm/new', 'w').close()\n"
        f"seen['theirs'] = os.path.exists({str(theirs)!r})\n"
        "seen['etc'] = os.path.exists('/etc/shadow')\n"
        "seen['env'] = {k: v for k, v in os.environ.items() if k not in ('PWD', 'LC_CTYPE')}\n"
        "seen['pids'] = len([p for p in os.listdir('/proc') if p.isdigit()])",
    )
    assert {"home", "var", "srv", "boot"}.isdisjoint(seen["root"] if isinstance(seen["root"], list) else [])
    assert seen["here"] == ["file"]
    assert (seen["theirs"], seen["etc"], seen["env"]) == (False, False, {"A": "b"})
    assert isinstance(seen["pids"], int)
    assert seen["pids"] <= 3
    assert (mine / "new").stat().st_uid == UID
    assert not Path("/tmp/new").exists()


@needs_bwrap
@needs_root
async def test_there_is_no_network_and_no_way_to_become_root() -> None:
    seen = await python(
        Sandbox(read_only=CLOSURE, uid=UID),
        """
import os, socket
try:
    socket.create_connection(("192.0.2.1", 80), 1)
except OSError as error:
    seen["net"] = error.errno
seen["interfaces"] = [name for _, name in socket.if_nameindex()]
def tried(what):
    try:
        what()
    except OSError as error:
        return type(error).__name__
seen["setuid"] = tried(lambda: os.setuid(0))
seen["write"] = tried(lambda: open("/usr/x", "w")) is not None
seen["write root"] = tried(lambda: open("/x", "w")) is not None
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
seen["caps"] = {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
seen["nnp"] = status["NoNewPrivs"]
""",
    )
    assert seen == {
        "net": 101,
        "interfaces": ["lo"],
        "setuid": "PermissionError",
        "write": True,
        "write root": True,
        "caps": True,
        "nnp": "1",
    }


@needs_bwrap
async def test_killing_bubblewrap_kills_everything_inside(tmp_path: Path) -> None:
    note = tmp_path / "note"
    note.mkdir(mode=0o777)
    note.chmod(0o777)
    code = """
import os, signal
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open("/note/up", "w").close()
while True:
    signal.pause()
"""
    uid = UID if os.geteuid() == 0 else None
    box = Sandbox(read_only=CLOSURE, writable=((note, Path("/note")),), uid=uid, env=(("MARK", str(note)),))
    task = asyncio.create_task(run.run(sandbox.command(box, [sys.executable, "-c", code]), deadline=30, check=False))
    await until(lambda: (note / "up").exists())
    assert len(inside(note)) >= 2
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not inside(note))


def inside(note: Path) -> list[int]:
    """Processes that run with this test's mark in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"MARK={note}".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found

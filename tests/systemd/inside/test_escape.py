"""Attempts to reach files and sockets from inside a container of backend `nixos`, as the harness's user and as root.

Each has a control: the same attempt where it is allowed, which succeeds.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.sockets.listener import bind
from meta.errors import Refused
from meta.names import MANAGER
from reconciler.privileged.values import HARNESS_UID
from tests.support.systemd.host import HOME
from tests.systemd.inside.attempts import DONE, inside, outside, snapshot, succeeded
from tests.systemd.inside.conftest import UID_BASES, NixosHost
from tests.systemd.inside.entered import USERS, enter
from tests.systemd.inside.surroundings import ALICE, BOB, CANARY, HELPER, SECRET, guarded_canary, listening, make_repos


@pytest.fixture(autouse=True)
def canary() -> Iterator[None]:
    """Every test."""
    with guarded_canary():
        yield


# files
MOUNTS = """
for line in open("/proc/self/mountinfo"):
    number, parent, device, root, where, options, *_ = line.split()
    if any(root.startswith(top) for top in words):
        said[where] = f"{root} {options.split(',')[0]}"
"""


async def test_of_hives_directories_a_container_has_those_that_are_meant_for_it_and_no_others(
    nixos_host: NixosHost,
) -> None:
    alice, manager, layout = await enter(nixos_host, ALICE), await enter(nixos_host, MANAGER), nixos_host.layout
    run = Path("/run")  # a file system of its own, whose mounts begin there
    tops = (str(layout.state), f"/{layout.runtime.relative_to(run)}")
    shared = {
        "/agents": f"{layout.state}/proposed rw",
        "/applied": f"{layout.state}/applied ro",
        "/meta": f"{layout.meta} ro",
    }
    for container, more in ((alice, {}), (manager, shared)):
        own = {
            "/state": f"{layout.agent_state(container.agent)} rw",
            "/home/agent": f"{layout.agent_home(container.agent)} rw",
            "/run/pods": f"{layout.pods(container.agent)} rw",
            "/run/hive": f"/{layout.sockets(container.agent).relative_to(run)} rw",
            "/run/egress": f"/{layout.egress(container.agent).relative_to(run)} ro",
        }
        for user in USERS:
            assert inside(container, user, MOUNTS, *tops) == own | more


WRITE = """
for top in words:
    attempt(f"{top}: new file", write, f"{top}/planted")
    attempt(f"{top}: new directory", os.mkdir, f"{top}/planted.d")
    attempt(f"{top}: new link", os.symlink, "/etc/passwd", f"{top}/planted.link")
    attempt(f"{top}: there already", write, f"{top}/kept")
    attempt(f"{top}: mode", os.chmod, f"{top}/kept", 0o666)
    attempt(f"{top}: owner", os.chown, f"{top}/kept", os.getuid(), os.getgid())
    attempt(f"{top}: name", os.rename, f"{top}/kept", f"{top}/moved")
    attempt(f"{top}: removal", os.unlink, f"{top}/{'moved' if os.path.exists(top + '/moved') else 'kept'}")
"""
REMOUNT = """
BIND, REMOUNT, RDONLY = 4096, 32, 1
def clear(path):
    attributes = (ctypes.c_uint64 * 4)(0, RDONLY, 0, 0)
    c("syscall", 442, -100, path, 0, ctypes.byref(attributes), 32)  # mount_setattr
for top in words:
    path = top.encode()
    attempt(f"{top}: remount", c, "mount", b"none", path, None, BIND | REMOUNT, None)
    attempt(f"{top}: mount_setattr", clear, path)
    attempt(f"{top}: write after that", write, f"{top}/planted")
"""


async def test_nothing_is_written_to_applied_and_meta_from_inside_the_manager(nixos_host: NixosHost) -> None:
    manager, layout = await enter(nixos_host, MANAGER), nixos_host.layout
    await make_repos(nixos_host, HELPER)
    for folder in (layout.applied_git(ALICE), layout.meta, layout.meta_git):
        (folder / "kept").write_text("of the host")
        (folder / "kept").chmod(0o666)
        folder.chmod(0o777)  # the mount alone must hold; what the modes hold is tried further down
    for folder in (layout.state / "proposed", layout.proposed(ALICE)):
        (folder / "kept").write_text("of the host")
    before = {top: snapshot(top) for top in (layout.state / "applied", layout.meta)}
    closed = ("/applied/alice/.git", "/meta", "/meta/.git", "/agents/alice/applied.git")
    for user in USERS:
        assert succeeded(inside(manager, user, WRITE, *closed)) == []
        assert succeeded(inside(manager, user, WRITE, "/agents", "/agents/alice")) == []
        assert succeeded(inside(manager, user, REMOUNT, "/applied", "/meta")) == []
        for top in ("/applied", "/meta"):
            again = f"mount -o remount,bind,rw {top} && touch {top}/planted"
            assert manager.run("/usr/bin/unshare", "-Urm", "/bin/sh", "-c", again, user=user).returncode != 0
        own = (
            "mount -t tmpfs none /tmp && mount -o remount,bind,ro /tmp && mount -o remount,bind,rw /tmp && touch /tmp/x"
        )
        manager.text("/usr/bin/unshare", "-Urm", "/bin/sh", "-c", own, user=user)
        own = f"/agents/alice/config/own-{user}"
        manager.text("/bin/sh", "-c", f"mkdir {own} && echo x >{own}/kept", user=user)
        said = inside(manager, user, WRITE, own)
        assert len(succeeded(said)) == len(said), said
    assert {top: snapshot(top) for top in before} == before


PATHS = """
for path in words:
    def read():
        with open(path) as file:
            said[f"read {path} as"] = file.read()
    attempt(f"read {path}", read)
    attempt(f"list {path}", os.listdir, os.path.dirname(path))
"""


async def test_another_agents_directories_and_the_hosts_files_are_not_to_be_found(nixos_host: NixosHost) -> None:
    alice, bob, layout = await enter(nixos_host, ALICE), await enter(nixos_host, BOB), nixos_host.layout
    bob.python("open('/state/diary','w').write('secret')")
    bob.python("open('/home/agent/credentials','w').write('secret')")
    before = snapshot(layout.agent(BOB))
    diary, credentials = str(layout.agent_state(BOB) / "diary"), str(layout.agent_home(BOB) / "credentials")
    launch = str(layout.sockets(BOB) / "launch.env")
    ways = (
        "",
        "/proc/1/root",
        "/proc/self/root",
        "/state/../../../../..",
        "/run/hive/../../..",
        "/run/host/incoming/..",
    )
    targets = (diary, credentials, launch, str(CANARY), "/etc/shadow", str(layout.applied(BOB)), str(layout.database))
    paths = [way + target for way in ways for target in targets]
    near = ["/state/../../bob/state/diary", "/run/hive/../bob/launch.env", "/home/agent/../../bob/home/credentials"]
    assert outside(PATHS, diary, credentials, launch, str(CANARY), "/etc/shadow")[f"read {diary}"] == DONE
    for user in USERS:
        said = inside(alice, user, PATHS, *paths, *near)
        assert [name for name in succeeded(said) if name.startswith("read")] == []
        assert SECRET not in str(said)
        assert "secret" not in str(said)
        alice.python("import os; os.symlink('/etc/hive-canary', f'/state/to-{os.getuid()}')", user=user)
        planted = f"/state/to-{HARNESS_UID if user == 'agent' else 0}"
        assert inside(alice, user, PATHS, planted)[f"read {planted}"] == "ENOENT"
        own = f"/state/diary-of-{user}"
        alice.python(f"open('{own}','w').write('mine')", user=user)
        assert inside(alice, user, PATHS, own)[f"read {own} as"] == "mine"
    # its root can make the same paths, in its own tree
    making = f"mkdir -p {Path(diary).parent} && echo planted >{diary}; echo planted >{CANARY}"
    alice.text("/bin/sh", "-c", making, user="root")
    assert snapshot(layout.agent(BOB)) == before


HANDLE = """
buffer = (ctypes.c_char * 136)()
buffer[:len(bytes.fromhex(words[1]))] = bytes.fromhex(words[1])
here = os.open(words[0], os.O_RDONLY)
def decode():
    fd = libc.open_by_handle_at(here, buffer, os.O_RDONLY)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "open_by_handle_at")
    said["holds"] = os.read(fd, 100).decode()
attempt("open by handle", decode)
"""
NAME = """
buffer, mount = (ctypes.c_char * 136)(), ctypes.c_int()
buffer[:4] = struct.pack("I", 128)
attempt("name", c, "name_to_handle_at", -100, words[0].encode(), buffer, ctypes.byref(mount), 0)
said["handle"] = bytes(buffer).hex()
"""


async def test_a_file_handle_of_the_file_system_under_a_bind_opens_nothing_outside_of_it(nixos_host: NixosHost) -> None:
    alice, layout = await enter(nixos_host, ALICE), nixos_host.layout
    secret = layout.runtime / "secret"
    secret.write_text(SECRET)
    named = outside(NAME, str(secret))
    if named["name"] != DONE:
        pytest.skip("the file system of /run gives no handles")
    assert outside(HANDLE, str(layout.sockets(ALICE)), named["handle"])["holds"] == SECRET
    for user in USERS:
        said = inside(alice, user, HANDLE, "/run/hive", named["handle"])
        assert said["open by handle"] != DONE
        assert SECRET not in str(said)


# sockets
CONNECT = """
for path in words:
    with socket.socket(socket.AF_INET if path.isdigit() else socket.AF_UNIX) as peer:
        peer.settimeout(3)
        where = ("127.0.0.1", int(path)) if path.isdigit() else path.replace("@", chr(0))
        attempt(path, peer.connect, where)
"""


async def test_of_all_sockets_only_the_agents_own_can_be_reached(nixos_host: NixosHost) -> None:
    alice, layout = await enter(nixos_host, ALICE), nixos_host.layout
    await nixos_host.backend.create(BOB, nixos_host.settings(BOB))
    files = [layout.host_socket, layout.http_socket, layout.mcp_socket(BOB), layout.harness_socket(BOB)]
    files += [layout.mcp_socket(ALICE), Path("/run/hive-privileged/socket")]
    own = ("/run/hive/mcp.sock", "/run/hive/harness.sock")
    near = ["/run/hive/../host.sock", "/run/hive/../bob/mcp.sock", "/run/hive/../../host.sock"]
    near += [f"/proc/1/root{path}" for path in files]
    with (
        listening(layout),
        socket.socket(socket.AF_UNIX) as abstract,
        socket.create_server(("127.0.0.1", 0)) as tcp,
    ):
        abstract.bind("\0hive-escape")
        abstract.listen()
        foreign = [*map(str, files), "@hive-escape", str(tcp.getsockname()[1])]
        assert succeeded(outside(CONNECT, *foreign)) == foreign
        for user in USERS:
            assert succeeded(inside(alice, user, CONNECT, *foreign, *near)) == []
            assert succeeded(inside(alice, user, CONNECT, *own)) == list(own)


REPLACE = """
top = words[0]
attempt("remove", os.unlink, f"{top}/mcp.sock")
attempt("rename", os.rename, f"{top}/harness.sock", f"{top}/gone")
attempt("link", os.symlink, "/etc/hive-canary", f"{top}/planted")
attempt("socket", socket.socket(socket.AF_UNIX).bind, f"{top}/planted.sock")
attempt("file", write, f"{top}/planted.file")
attempt("launch.env", write, f"{top}/launch.env")
attempt("mode", os.chmod, top, 0o777)
"""


async def test_the_directory_of_the_sockets_cannot_be_changed_and_hive_repairs_it(nixos_host: NixosHost) -> None:
    alice, layout = await enter(nixos_host, ALICE), nixos_host.layout
    bound = [bind(layout.mcp_socket(ALICE), UID_BASES[ALICE]), bind(layout.harness_socket(ALICE), UID_BASES[ALICE])]
    before = snapshot(layout.sockets(ALICE))
    for user in USERS:
        assert succeeded(inside(alice, user, REPLACE, "/run/hive")) == []
        alice.text("/bin/sh", "-c", f"mkdir /state/{user}; cd /state/{user}; touch mcp.sock harness.sock", user=user)
        said = inside(alice, user, REPLACE, f"/state/{user}")
        assert len(succeeded(said)) == len(said), said
    assert snapshot(layout.sockets(ALICE)) == before
    # what somebody on the host planted there
    layout.mcp_socket(ALICE).unlink()
    layout.mcp_socket(ALICE).symlink_to(CANARY)
    assert not bound[0].present()
    bound.append(bind(layout.mcp_socket(ALICE), UID_BASES[ALICE]))
    for user in USERS:
        assert succeeded(inside(alice, user, CONNECT, "/run/hive/mcp.sock")) == ["/run/hive/mcp.sock"]
    for one in bound:
        one.remove()


# links
async def test_links_that_an_agent_plants_lead_root_nowhere(nixos_host: NixosHost) -> None:
    alice, layout = await enter(nixos_host, ALICE), nixos_host.layout
    for user in USERS:
        link = f"ln -s /etc $one/etc-{user}; ln -s {CANARY} $one/file-{user}"
        link = f"for one in /state /home/agent; do {link}; done"
        alice.text("/bin/sh", "-c", link, user=user)
    etc = Path("/etc").stat()
    await nixos_host.backend.stop(ALICE, 5)
    await nixos_host.backend.own_directories(ALICE, nixos_host.settings(ALICE))
    await nixos_host.backend.start(ALICE, nixos_host.launch(nixos_host.generation(ALICE)))
    assert (Path("/etc").stat().st_uid, Path("/etc").stat().st_mode) == (etc.st_uid, etc.st_mode)
    assert (layout.agent_state(ALICE) / "etc-root").is_symlink()
    await nixos_host.backend.stop(ALICE, 5)
    # what only the host can do: a link in the place of the directory itself
    target = HOME / "target"
    target.mkdir()
    for folder in (layout.agent_home(ALICE), layout.agent_state(ALICE)):
        aside = folder.rename(folder.with_name("aside"))
        folder.symlink_to(target)
        with pytest.raises(Refused):
            await nixos_host.backend.own_directories(ALICE, nixos_host.settings(ALICE))
        assert target.stat().st_uid == 0
        folder.unlink()
        aside.rename(folder)
    target.rmdir()

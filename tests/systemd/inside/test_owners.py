"""Whose the store's files are in a container, what its root can write of nix, and what the host sees of that."""

from __future__ import annotations

import subprocess
from pathlib import Path

from reconciler.privileged.idmap import of_host
from tests.support.systemd.host import STORE
from tests.systemd.inside.attempts import inside, snapshot, succeeded
from tests.systemd.inside.conftest import UID_BASES, WHERE, NixosHost
from tests.systemd.inside.entered import USERS, enter
from tests.systemd.inside.surroundings import ALICE

GCROOTS = Path("/nix/var/nix/gcroots/per-container/alice")
OWNERS = """
for path in words:
    seen = os.lstat(path)
    said[path] = f"{seen.st_uid} {seen.st_gid}"
"""
PROFILES = """
for folder in ("profiles", "gcroots"):
    top = f"/nix/var/nix/{folder}"
    said[f"{folder} at first"] = " ".join(os.listdir(top))
    attempt(f"{folder} file", write, f"{top}/own")
    attempt(f"{folder} link", os.symlink, "/etc/passwd", f"{top}/link")
    attempt(f"{folder} setuid", os.chmod, f"{top}/own", 0o4755)
"""
STORE_WRITES = """
top = words[0]
def mapped(flags):
    attributes = (ctypes.c_uint64 * 4)(0, 1, 0, 0)
    c("syscall", 442, -100, top.encode(), flags, ctypes.byref(attributes), 32)  # mount_setattr: not read-only
attempt("new", write, f"{top}/planted")
attempt("mode", os.chmod, top, 0o777)
attempt("system", write, f"{words[1]}/init")
attempt("remount", c, "mount", b"none", top.encode(), None, 4096 | 32, None)
attempt("attributes", mapped, 0)
attempt("below", c, "umount2", top.encode(), 2)
attempt("profiles below", c, "umount2", b"/nix/var/nix/profiles", 2)
attempt("gcroots below", c, "umount2", b"/nix/var/nix/gcroots", 2)
"""


async def test_the_store_is_roots_inside_and_nobody_can_write_it(nixos_host: NixosHost) -> None:
    alice = await enter(nixos_host, ALICE)
    system = str((WHERE.profiles / "alice" / "system").resolve())
    assert of_host(str(STORE)), "the store of this host cannot be mapped, so nothing is tried"
    before = snapshot(Path(system))
    for user in USERS:
        said = inside(alice, user, OWNERS, str(STORE), system, f"{system}/init")
        assert set(said.values()) == {"0 0"}
        assert succeeded(inside(alice, user, STORE_WRITES, str(STORE), system)) == []
    assert snapshot(Path(system)) == before
    assert not (STORE / "planted").exists()


async def test_the_profiles_are_the_containers_own_and_the_hosts_stay_as_they_are(nixos_host: NixosHost) -> None:
    alice = await enter(nixos_host, ALICE)
    GCROOTS.mkdir(parents=True, exist_ok=True)
    before = snapshot(WHERE.profiles / "alice"), snapshot(GCROOTS)
    assert len(before[0]) > 1, "the host's profile of alice is there"
    said = inside(alice, "root", PROFILES)
    assert [key for key, how in said.items() if how == ""] == ["profiles at first", "gcroots at first"]
    assert len(succeeded(said)) == 6
    assert (snapshot(WHERE.profiles / "alice"), snapshot(GCROOTS)) == before
    own = Path(f"/proc/{nixos_host.leader(ALICE)}/root/nix/var/nix/profiles/own").stat()
    assert (own.st_uid, own.st_gid) == (UID_BASES[ALICE], UID_BASES[ALICE])


LAYER = """
mkdir /run/layer /run/layer/upper /run/layer/work /run/layer/both
mount -t overlay nix -o "userxattr,lowerdir=$1,upperdir=/run/layer/upper,workdir=/run/layer/work" /run/layer/both
stat -c '%u %g' "/run/layer/both/${2##*/}" && echo own >/run/layer/both/made && cat /run/layer/both/made
"""


async def test_a_nix_of_the_containers_own_can_lie_over_the_store(nixos_host: NixosHost) -> None:
    """As nix/modules/agent/own-nix.sh mounts it: also over a store whose owners are mapped."""
    alice = await enter(nixos_host, ALICE)
    system = (WHERE.profiles / "alice" / "system").resolve()
    before = snapshot(STORE)
    words = ("/bin/sh", "-ec", LAYER, "layer", str(STORE), str(system))
    assert alice.text(*words, user="root") == "0 0\nown\n"
    assert snapshot(STORE) == before


NAIVE = r"""
root=/var/tmp/naive; mkdir -p $root/usr $root/etc $root/tmp /run/naive/profiles
for one in bin lib lib64; do ln -sfn usr/$one $root/$one; done; touch $root/etc/os-release
exec systemd-run --wait --pipe --quiet --slice=machine.slice -p Delegate=yes \
  systemd-nspawn -q --register=no --keep-unit -M naive -D $root --private-users=917504:65536 \
  --bind-ro=/usr --bind=/run/naive/profiles:/mnt:idmap /bin/sh -c 'touch /mnt/own && chmod 4755 /mnt/own'
"""


async def test_a_profile_bound_with_idmap_would_let_the_containers_root_write_as_the_hosts(
    nixos_host: NixosHost,
) -> None:
    """The control: what a value of PRIVATE_USERS makes of newer start scripts, and why hive leaves it empty."""
    done = subprocess.run(["/bin/sh", "-c", NAIVE], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    made = Path("/run/naive/profiles/own").stat()
    assert (made.st_uid, made.st_mode & 0o7777) == (0, 0o4755)

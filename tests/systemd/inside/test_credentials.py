"""Credentials of agents, through the root helper, systemd-nspawn and the container's own systemd."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from meta.errors import HiveError, TransientError
from reconciler.privileged.credentials import NEEDED
from tests.support.systemd.host import USER
from tests.systemd.inside.conftest import WHERE, NixosHost
from tests.systemd.inside.entered import USERS, Inside, enter
from tests.systemd.inside.surroundings import ALICE, BOB

LIST = Path("/etc/hive/credentials.json")
SECRETS = Path("/run/secrets")
ID = "github-token"
FIRST, SECOND = "first-hunter2-of-alice", "second-hunter2-of-alice"
LOADED = (f"--property=LoadCredential={ID}", "--property=LoadCredential=never-given")
"""What the unit of the harness has for `hive.agent.credentials`."""

SHOW = 'ls "$CREDENTIALS_DIRECTORY"; cat "$CREDENTIALS_DIRECTORY"/*'


def rotate(number: int, text: str) -> None:
    """Make the secrets as sops-nix does: a new folder of root, and a link that is replaced."""
    folder = Path(f"/run/secrets.d/{number}")
    folder.mkdir(mode=0o751, parents=True)
    (folder / "alice").write_text(text)
    (folder / "alice").chmod(0o400)
    fresh = Path("/run/secrets.new")
    fresh.symlink_to(folder)
    fresh.rename(SECRETS)


@contextmanager
def given() -> Iterator[None]:
    """The host gives alice one credential."""
    LIST.parent.mkdir(exist_ok=True)
    LIST.write_text(json.dumps({"version": 1, "agents": {"alice": {ID: f"{SECRETS}/alice"}}}))
    rotate(1, FIRST)
    try:
        yield
    finally:
        LIST.unlink()
        subprocess.run(["rm", "-rf", "/run/secrets.d", str(SECRETS)], check=True, timeout=20)


async def restart(host: NixosHost) -> None:
    await host.backend.stop(ALICE, 10)
    await host.backend.start(ALICE, host.launch(host.generation(ALICE)))
    await host.until_up(ALICE)


def shown(alice: Inside) -> list[str]:
    return alice.text("/bin/sh", "-c", SHOW, more=LOADED).split()


async def test_an_agent_has_its_credential_a_rotated_one_after_a_restart_and_nobody_else_has_it(
    nixos_host: NixosHost,
) -> None:
    with given():
        nixos_host.files = {NEEDED: json.dumps([ID])}
        alice = await enter(nixos_host, ALICE)
        assert shown(alice) == [ID, FIRST]
        rotate(2, SECOND)
        assert shown(alice) == [ID, FIRST]
        await restart(nixos_host)
        assert shown(alice) == [ID, SECOND]
        assert "--load-credential" in (WHERE.etc / "alice.conf").read_text()
        # systemd passes it to the unit that asks for it, and nspawn's own copy is closed to the agent
        assert alice.run("/bin/cat", f"/run/host/credentials/{ID}").returncode != 0
        assert alice.run("/bin/ls", str(SECRETS)).returncode != 0
        nixos_host.files = {}
        bob = await enter(nixos_host, BOB)
        for user in USERS:
            found = bob.run("/bin/sh", "-c", f"cat /run/host/credentials/* {SECRETS}/*", user=user)
            assert found.returncode != 0
            assert "hunter2" not in found.stdout
        journal = subprocess.run(["journalctl", "--no-pager"], capture_output=True, text=True, timeout=20).stdout
        confs = "".join(path.read_text() for path in WHERE.etc.iterdir())
        for text in (journal, confs, processes()):
            assert text
            assert "hunter2" not in text


def processes() -> str:
    """Return the command lines and the environments of all processes of the host and its containers."""
    found = b""
    for path in (*Path("/proc").glob("[0-9]*/cmdline"), *Path("/proc").glob("[0-9]*/environ")):
        with contextlib.suppress(OSError):  # it has ended
            found += path.read_bytes()
    return found.decode(errors="replace")


@pytest.mark.full
async def test_a_missing_file_keeps_the_agent_from_starting_until_it_is_there(nixos_host: NixosHost) -> None:
    with given():
        nixos_host.files = {NEEDED: json.dumps([ID])}
        alice = await enter(nixos_host, ALICE)
        (SECRETS / "alice").unlink()
        with pytest.raises(TransientError, match=f"the credential {ID} of alice is missing"):
            await restart(nixos_host)
        assert nixos_host.backend.observe(ALICE).pid is None
        rotate(2, SECOND)
        await restart(nixos_host)
        assert shown(alice) == [ID, SECOND]


@pytest.mark.full
async def test_a_secret_in_the_store_starts_nothing(nixos_host: NixosHost) -> None:
    with given():
        nixos_host.files = {NEEDED: json.dumps([ID])}
        await enter(nixos_host, ALICE)
        stored = WHERE.bounds.store + f"/{'0' * 32}-token"
        Path(stored).write_text(FIRST)
        (SECRETS / "alice").unlink()
        (SECRETS / "alice").symlink_to(stored)
        with pytest.raises(HiveError, match="lies in the store") as caught:
            await restart(nixos_host)
        assert "hunter2" not in caught.value.describe()
        Path(stored).unlink()


UNIT = f"""
[Service]
Type=oneshot
User={USER}
PrivateMounts=true
ProtectSystem=strict
LoadCredential=notify:{SECRETS}/alice
Environment="HIVE_NOTIFY_FILE=%d/notify"
ExecStart=/bin/sh -c 'test ! -r {SECRETS}/alice && cat "$HIVE_NOTIFY_FILE"'
StandardOutput=truncate:/run/hive-own
"""
"""hive.service's lines for `services.hive.settings.notify_file`."""


def test_the_daemons_own_secret_is_loaded_for_it_from_a_file_that_only_root_reads() -> None:
    unit = Path("/run/systemd/system/hive-own.service")
    unit.parent.mkdir(exist_ok=True)
    unit.write_text(UNIT)
    start = ["systemctl", "start", unit.name]
    with given():
        subprocess.run(["systemctl", "daemon-reload"], check=True, timeout=20)
        subprocess.run(start, check=True, timeout=20)
        assert Path("/run/hive-own").read_text() == FIRST
        (SECRETS / "alice").unlink()
        assert subprocess.run(start, timeout=20).returncode != 0
    said = subprocess.run(["systemctl", "status", unit.name], capture_output=True, text=True, timeout=20).stdout
    assert "243/CREDENTIALS" in said

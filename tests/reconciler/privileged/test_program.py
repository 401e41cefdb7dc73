"""The program itself: what it imports, how it gets its socket, whom it answers, how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.privileged.client import Client
from reconciler.privileged.values import Limits, Settings
from tests.reconciler.privileged.stage import ALICE, UID, Stage

REPOSITORY = Path(__file__).parents[3]
WAIT = 20
_START = "import sys; sys.path.insert(0, sys.argv.pop(1)); import runpy; "
_RUN = _START + "sys.argv[0] = 'hive-privileged'; runpy.run_module('reconciler.privileged', run_name='__main__')"
_ACTIVATED = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ.update(LISTEN_PID=str(os.getpid())); "
_ACTIVATED += "os.execv(sys.executable, [sys.executable, '-I', '-S', '-c', *sys.argv[2:]])"


def options(stage: Stage) -> list[str]:
    """The command line that puts the helper on the stage."""
    host = stage.host
    found = {
        "uid": host.uid,
        "owner": host.owner,
        "etc": host.etc,
        "store": host.bounds.store,
        "profiles": host.profiles,
        "state": host.state,
        "runtime": host.runtime,
        "run": host.units,
        "records": host.records,
    }
    for program in host.programs.__dataclass_fields__:
        found[program.replace("_", "-")] = getattr(host.programs, program)
    return [f"--{key}={value}" for key, value in found.items()]


@contextmanager
def program(argv: list[str], **more: object) -> Iterator[subprocess.Popen[str]]:
    """The running helper, once it says that it serves; it must end by itself on SIGTERM."""
    fds = more.get("pass_fds", ())
    assert isinstance(fds, tuple)
    env = {**os.environ, "LISTEN_FDS": "1"}
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, pass_fds=fds, env=env)
    assert process.stderr is not None
    try:
        first = json.loads(process.stderr.readline())
        assert first["event"] == "serving", first
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(WAIT)
        process.stderr.close()


def test_it_loads_only_the_standard_library_and_metas_names_and_errors() -> None:
    script = _START + (
        "import reconciler.privileged.__main__\n"
        "print(*sorted(n for n in sys.modules if n.split('.')[0] not in sys.stdlib_module_names and n != '__main__'))"
    )
    argv = [sys.executable, "-I", "-S", "-c", script, str(REPOSITORY)]
    loaded = subprocess.run(argv, capture_output=True, text=True, timeout=WAIT, check=True).stdout.split()
    ours = {name for name in loaded if not name.startswith("reconciler.privileged")}
    assert ours == {"meta", "meta.errors", "meta.names", "reconciler"}
    assert "reconciler.privileged.client" not in loaded
    assert "reconciler.privileged.verbs" in loaded


async def lead_a_life(stage: Stage, path: Path) -> None:
    """Everything that the daemon does with a container."""
    client = Client(path)
    for kind in ("state", "home", "pods", "sockets", "egress"):
        if os.getuid() == 0:
            await client.own_directory(ALICE, kind, UID)
    stage.directories()
    await client.create(ALICE, UID, stage.system)
    await client.write_settings(ALICE, Settings("agent", UID, Limits(256, 64, None)))
    await client.set_system(ALICE, stage.build("two"))
    await client.start(ALICE)
    stage.flag("journal", '{"__CURSOR":"s=1","MESSAGE":"hello"}\n')
    assert (await client.logs(ALICE, 5)).lines == ("hello",)
    await client.stop(ALICE, 1)
    await client.destroy(ALICE)
    assert not stage.conf().exists()


async def test_it_serves_on_a_socket_of_its_own(stage: Stage) -> None:
    path = stage.root / "socket"
    argv = [sys.executable, "-I", "-S", "-c", _RUN, str(REPOSITORY), *options(stage), f"--socket={path}"]
    with program(argv):
        assert path.stat().st_mode & 0o777 == 0o600
        await lead_a_life(stage, path)


async def test_it_serves_on_the_socket_that_systemd_passes(stage: Stage) -> None:
    path = stage.root / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        fd = listener.fileno()
        argv = [sys.executable, "-I", "-S", "-c", _ACTIVATED, str(fd), _RUN, str(REPOSITORY), *options(stage)]
        with program(argv, pass_fds=(fd,)):
            await lead_a_life(stage, path)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become somebody else")
def test_another_user_is_refused_by_its_uid() -> None:
    root = Path(tempfile.mkdtemp())
    try:
        root.chmod(0o755)
        stage = Stage(root)
        path = root / "socket"
        argv = [sys.executable, "-I", "-S", "-c", _RUN, str(REPOSITORY), *options(stage), f"--socket={path}"]
        with program(argv):
            path.chmod(0o666)
            # It becomes somebody else only once it runs: others may not be able to reach this interpreter.
            ask = "import os, socket, sys; os.setgroups([]); os.setgid(12345); os.setuid(12345); "
            ask += "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(s.recv(4096).decode())"
            other = [sys.executable, "-I", "-S", "-c", ask, str(path)]
            ended = subprocess.run(other, capture_output=True, text=True, timeout=WAIT, check=False)
        assert ended.returncode == 0, ended.stderr
        answer = json.loads(ended.stdout)
        assert (answer["ok"], answer["kind"]) == (False, "refused")
        assert "12345" in answer["error"]
        assert stage.calls() == []
    finally:
        shutil.rmtree(root)


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (["--owner=a b"], "owner"),
        (['--state=/var/lib/x" --bind=/'], "plain"),
        (["--state=relative"], "plain"),
        (["--store=/nix/../etc"], "plain"),
        (["--uid-first=0", "--uid-last=2000000000"], "uid range"),
        ([f"--egress-uid={UID}"], "hive-egress"),
        (["--egress-uid=0"], "hive-egress"),
        ([], "no socket was passed"),
    ],
)
def test_it_does_not_start_with_options_that_cannot_be_right(stage: Stage, extra: list[str], reason: str) -> None:
    argv = [sys.executable, "-I", "-S", "-c", _RUN, str(REPOSITORY), *options(stage), *extra]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=WAIT, check=False)
    assert ended.returncode == 2
    entry = json.loads(ended.stderr)
    assert entry["event"] == "cannot-start"
    assert reason in entry["error"] + entry["hint"]

"""What an agent on backend `local` sees and may, with bubblewrap and without."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from meta.errors import Refused
from meta.model import Role
from meta.names import MANAGER, AgentName
from meta.process import sandbox, trial
from meta.process.privilege import Privilege
from reconciler.backends.base import soft_note
from reconciler.backends.local import enclosure
from tests.contract.localhost import ALICE, BOB, LINGER, ROOT, Host
from tests.support.in_sandbox import PYTHON


async def said(host: Host, agent: AgentName, script: str) -> list[str]:
    """The lines that `script` writes inside, before the line `end`."""
    host.script = f"{script}\necho end\n{LINGER}"
    await host.bring_up(agent)
    return (await host.until_logged(agent, "end\n")).splitlines()[:-1]


# the sandbox
async def test_inside_are_only_the_agents_own_directories(local_host: Host) -> None:
    host = local_host
    await host.backend.create(BOB, host.settings(BOB))
    lines = await said(
        host, ALICE, f"ls -A / | tr '\\n' ' '; echo; ls -A /config /run /home; ls -d {host.layout.state} 2>&1"
    )
    top = set(lines[0].split())
    assert {"config", "state", "home", "run", "proc", "dev", "tmp", "etc", "usr"} <= top
    assert not top & {"var", "mnt", "srv", "boot", "sys", "media"}
    assert "agent.toml" in lines
    assert "No such file" in lines[-1]


async def test_the_config_is_read_only_and_the_state_is_the_agents_own(local_host: Host) -> None:
    script = (
        "touch /config/x 2>&1; touch /x 2>&1; touch /usr/x 2>&1; echo kept > /state/diary && echo written; touch ~/y"
    )
    lines = await said(local_host, ALICE, script)
    assert [line for line in lines if "Read-only" in line or "denied" in line] == lines[:3]
    assert lines[3:] == ["written"]
    assert (local_host.layout.agent_state(ALICE) / "diary").read_text() == "kept\n"
    assert (local_host.layout.agent_home(ALICE) / "y").exists()


async def test_the_sandboxs_etc_is_read_only_and_its_folder_is_not_seen(local_host: Host) -> None:
    folder = local_host.layout.backend("local") / ALICE
    script = (
        "for one in passwd group; do echo evil 2>&1 >>/etc/$one; rm -f /etc/$one 2>&1; done; "
        f"ls -d {folder} 2>&1; find / -xdev -name spec.json -o -name run.json 2>/dev/null"
    )
    lines = await said(local_host, ALICE, script)
    assert len(lines) == 5, lines
    assert all("Read-only" in line or "denied" in line or "busy" in line for line in lines[:4])
    assert "No such file" in lines[4]
    assert "evil" not in (folder / "etc" / "passwd").read_text(encoding="ascii")


async def test_inside_there_is_no_network_and_no_process_of_the_host(local_host: Host) -> None:
    lines = await said(local_host, ALICE, "tail -n +3 /proc/net/dev | cut -d: -f1; echo --; ls -d /proc/[0-9]* | wc -l")
    assert [line.strip() for line in lines[: lines.index("--")]] == ["lo"]
    assert int(lines[-1]) < 8


@pytest.mark.skipif(not ROOT, reason="fixed uids need root")
async def test_as_root_the_agent_has_its_own_uid_and_no_capabilities(local_host: Host) -> None:
    status = "grep -E 'Cap(Prm|Eff|Bnd|Amb)|NoNewPrivs' /proc/self/status"
    script = f"id -u; id -g; id -un; id -G; {status}; stat -c %u /state ~ /run/hive"
    lines = await said(local_host, ALICE, script)
    assert lines[:4] == ["600000", "600000", "agent", "600000"]
    assert [line.split()[1].strip("0") for line in lines[4:8]] == ["", "", "", ""]
    assert lines[8].split() == ["NoNewPrivs:", "1"]
    assert lines[9:] == ["600000"] * 3


@pytest.mark.skipif(not ROOT, reason="fixed uids need root")
@pytest.mark.parametrize("isolation", ["required", "unsafe-none"])
async def test_an_agent_that_would_be_the_hosts_root_is_refused(local_host: Host, isolation: str) -> None:
    update = {"fixed_uids": False, "isolation": isolation}
    local_host.config = local_host.config.model_copy(update=update)
    await local_host.reopen()
    with pytest.raises(Refused, match="root") as caught:
        await local_host.bring_up(ALICE)
    assert "HIVE_FIXED_UIDS" in caught.value.hint
    assert not local_host.backend.observe(ALICE).running
    assert "no agent starts" in local_host.backend.abilities().uids
    assert any("HIVE_FIXED_UIDS" in note for note in local_host.backend.abilities().notes)


async def test_an_agent_cannot_write_where_its_sockets_are(local_host: Host) -> None:
    lines = await said(local_host, ALICE, "touch /run/hive/file; mkdir /run/hive/folder; ls /run/hive")
    assert ["Read-only file system" in line for line in lines] == [True, True]


async def test_a_socket_in_the_way_out_made_later_connects_and_an_agent_can_put_nothing_there(local_host: Host) -> None:
    path = local_host.layout.egress(ALICE) / "egress.sock"
    program = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/egress/egress.sock'); print('connected')"
    )
    wait = "while ! [ -S $HIVE_EGRESS/egress.sock ]; do sleep 0.01; done"
    local_host.script = (
        f'touch $HIVE_EGRESS/x; mkdir $HIVE_EGRESS/y; echo tried; {wait}; {PYTHON} -c "{program}"; echo end; {LINGER}'
    )
    await local_host.bring_up(ALICE)
    await local_host.until_logged(ALICE, "tried\n")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o666)  # as hive does: in a directory that only the agent may enter
        listener.listen()
        lines = (await local_host.until_logged(ALICE, "end\n")).splitlines()
    assert ["Read-only file system" in line for line in lines[:2]] == [True, True]
    assert "connected" in lines
    assert list(path.parent.iterdir()) == [path]


async def test_the_way_out_belongs_to_hive_and_goes_with_the_container(local_host: Host) -> None:
    await local_host.bring_up(ALICE)
    folder = local_host.layout.egress(ALICE)
    before = folder.stat()
    assert (before.st_uid, before.st_mode & 0o7777) == (os.geteuid(), 0o750)
    assert before.st_gid == (600_000 if ROOT else os.getgid())
    await local_host.backend.own_directories(ALICE, local_host.settings(ALICE))
    assert folder.stat().st_ino == before.st_ino
    await local_host.backend.destroy(ALICE)
    assert not folder.exists()


SERVE = (
    "import os, socket; s = socket.socket(socket.AF_UNIX); s.bind(os.environ['HIVE_PODS'] + '/pod.sock'); s.listen(); "
    "print('listens', flush=True); s.accept()[0].sendall(b'hello'); print('end', flush=True)"
)


async def call(host: Host) -> list[str]:
    """Call the socket that the agent makes for its pods, from the next daemon. Return what the agent said."""
    host.script = f'echo $HIVE_PODS; {PYTHON} -c "{SERVE}"; {LINGER}'
    await host.bring_up(ALICE)
    await host.until_logged(ALICE, "listens\n")
    folder = host.layout.pods(ALICE)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    await host.reopen()
    at = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(f"/proc/self/fd/{at}/pod.sock")
            assert await asyncio.to_thread(client.recv, 5) == b"hello"
    finally:
        os.close(at)
    return (await host.until_logged(ALICE, "end\n")).splitlines()


async def test_a_socket_that_the_agent_makes_for_its_pods_is_called_from_outside(local_host: Host) -> None:
    assert await call(local_host) == ["/run/pods", "listens", "end"]


async def test_without_a_sandbox_it_is_called_too(bare: Host) -> None:
    bare.config = bare.config.model_copy(update={"isolation": "unsafe-none"})
    await bare.reopen()
    assert await call(bare) == [str(bare.layout.pods(ALICE)), "listens", "end"]


async def test_the_sockets_of_pods_go_with_the_container_and_no_link_among_them_is_followed(
    local_host: Host, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").touch()
    folder = local_host.layout.pods(ALICE)
    script = (
        f"ln -s {tmp_path}/outside /run/pods/link; mkdir /run/pods/deep; ln -s {tmp_path}/outside/kept /run/pods/deep"
    )
    await said(local_host, ALICE, f"{script}; chmod 0 /run/pods/deep")
    assert sorted(path.name for path in folder.iterdir()) == ["deep", "link"]
    await local_host.backend.destroy(ALICE)
    assert not folder.exists()
    assert (tmp_path / "outside/kept").exists()


async def test_an_agent_of_an_older_hive_goes_on_and_has_the_folder_of_pods_after_its_next_start(
    local_host: Host,
) -> None:
    await said(local_host, ALICE, "echo up")
    local_host.layout.pods(ALICE).rmdir()
    await local_host.reopen()
    assert local_host.backend.observe(ALICE).running
    await local_host.backend.stop(ALICE, 5)
    await local_host.bring_up(ALICE)
    assert local_host.layout.pods(ALICE).is_dir()
    local_host.layout.pods(ALICE).rmdir()
    await local_host.backend.destroy(ALICE)


async def test_the_hosts_settings_are_read_only_for_an_agent(local_host: Host) -> None:
    names = "sys/kernel/core_pattern sys/vm/drop_caches sysrq-trigger irq bus"
    script = f"for f in {names}; do test -w /proc/$f && echo $f; done"
    assert (
        await said(local_host, ALICE, f"{script}; head -c1 /proc/keys /proc/timer_list 2>/dev/null | grep -v ==") == []
    )


@pytest.mark.skipif(not ROOT, reason="only root can be without a right of root's")
async def test_a_root_that_cannot_hand_out_uids_is_named_and_its_agents_keep_to_namespaces(
    local_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Privilege(0, namespaced=True, why="this user namespace has one uid, and not 524288")
    for module in (enclosure, trial, sandbox):
        monkeypatch.setattr(module, "privilege", lambda first=0: mine)
    await local_host.reopen()
    assert await said(local_host, ALICE, "id -u; stat -c %u /state; grep CapEff /proc/self/status | tr -d '0\\t'") == [
        *("0", "0", "CapEff:")
    ]
    notes = local_host.backend.abilities().notes
    assert f"agents are separated by namespaces only, not by uid: {mine.why}" in notes


async def test_the_agent_is_told_who_it_is_by_its_environment_and_nothing_of_the_daemons(
    local_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    local_host.script = f"env; echo end; {LINGER}"
    launch = await local_host.bring_up(ALICE)
    text = await local_host.until_logged(ALICE, "end\n")
    env = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    assert env["HIVE_AGENT"] == "alice"
    assert env["HIVE_ROLE"] == "agent"
    assert (env["HIVE_GENERATION"], env["HIVE_BOOT_NONCE"]) == (launch.generation, launch.nonce)
    assert (env["HIVE_CONFIG"], env["HIVE_RUN"], env["HIVE_STATE"]) == ("/config", "/run/hive", "/state")
    assert (env["HIVE_AGENTS"], env["HOME"]) == ("/agents", "/home/agent")
    assert "SECRET_TOKEN" not in env


async def test_a_soft_scope_is_allowed_by_the_operator_alone_and_said_in_the_notes(local_host: Host) -> None:
    local_host.config = local_host.config.model_copy(update={"soft_scopes": True})
    await local_host.reopen()
    assert await said(local_host, ALICE, "echo $HIVE_SOFT_SCOPES") == ["true"]
    assert soft_note(soft=True, version=2) == [
        "scopes of agents are NOT HELD: Landlock of ABI 2 does not hold truncate(2)"
    ]
    assert soft_note(soft=False, version=0) == soft_note(soft=True, version=3) == []


async def test_the_agents_path_is_fixed_and_nothing_inside_shows_the_daemons(
    local_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/of/the/session")
    lines = await said(local_host, ALICE, "echo $PATH; cat /proc/[0-9]*/environ 2>/dev/null | grep -c /of/the/session")
    assert lines == [f"/programs/bin:{enclosure.search_path()}", "0"]


async def test_without_a_sandbox_the_path_is_fixed_too(bare: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/of/the/session")
    bare.config = bare.config.model_copy(update={"isolation": "unsafe-none"})
    await bare.reopen()
    (path,) = await said(bare, ALICE, "echo $PATH")
    assert path.endswith(enclosure.search_path())
    assert "/of/the/session" not in path


def test_the_programs_of_a_nixos_host_are_on_the_path_if_it_has_them(tmp_path: Path) -> None:
    folders = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert enclosure.search_path(nixos=tmp_path / "none") == folders
    assert enclosure.search_path(nixos=tmp_path) == f"{folders}:{tmp_path}"


async def test_inside_is_what_a_coding_agent_needs(local_host: Host) -> None:
    tools = [
        name
        for name in ("git", "gcc", "python3", "node", "make", "perl", "curl")
        if shutil.which(name, path=enclosure.PATH)
    ]
    script = (
        f"for one in sh ls sed grep find tar {' '.join(tools)}; do command -v $one >/dev/null || echo no $one; done; "
        "git init -q ~/r && cd ~/r && git commit -q --allow-empty -m x && echo committed; "
        "touch /tmp/x ~/x && echo wrote; getent hosts localhost | head -1; "
        "for one in /etc/ssl/certs/ca-certificates.crt /etc/os-release; do test -s $one || echo no $one; done"
    )
    git = "export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b"
    lines = await said(local_host, ALICE, f"{git}; {script}")
    assert lines[:2] == ["committed", "wrote"]
    assert "localhost" in lines[2]
    missing = [path for path in ("/etc/ssl/certs/ca-certificates.crt", "/etc/os-release") if not Path(path).exists()]
    assert lines[3:] == [f"no {path}" for path in missing]


async def test_no_home_of_the_host_and_none_of_its_secrets_is_inside(local_host: Host) -> None:
    homes = {user.pw_dir for user in pwd.getpwall()} - {"/", "/nonexistent"}
    outside = sorted(home for home in homes if not sandbox.has(Path(home).resolve()) and home not in ("/dev", "/proc"))
    secret = "/etc/shadow /etc/gshadow /etc/ssl/private /etc/ssh /var /srv /run/user /run/secrets /run/dbus"
    script = f"for one in {' '.join(outside)}; do ls -A $one 2>/dev/null; done"
    script += f"; for one in {secret}; do test -e $one && echo $one; done"
    # of a home there are at most the folders that lead to the interpreter
    python = {part for path in sandbox.python_closure() for part in path.parts}
    assert set(await said(local_host, ALICE, script)) - python == set()


async def test_a_program_in_somebodys_home_runs_inside_and_status_names_it(
    local_host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "home" / "bin" / "claude"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho I am $0\n")
    program.chmod(0o755)
    program.parent.parent.chmod(0o700)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    assert await said(local_host, ALICE, f"claude; ls {program} 2>&1 | grep -c 'No such'") == [
        "I am /programs/bin/claude",
        "1",
    ]
    assert local_host.backend.abilities().programs.startswith("claude")


async def test_a_socket_made_later_in_the_bound_directory_is_seen_inside(local_host: Host) -> None:
    local_host.script = f"echo up; while ! [ -e /run/hive/mcp.sock ]; do sleep 0.01; done; echo seen; {LINGER}"
    await local_host.bring_up(ALICE)
    await local_host.until_up(ALICE)
    (local_host.layout.sockets(ALICE) / "mcp.sock").touch()
    await local_host.until_logged(ALICE, "seen")


async def test_the_manager_sees_proposed_writable_and_applied_and_meta_read_only(local_host: Host) -> None:
    host, layout = local_host, local_host.layout
    uid = 600_000 if ROOT else os.getuid()
    work = layout.proposed_config(ALICE)
    work.mkdir(parents=True)
    os.chown(work, uid, uid)
    (layout.applied(ALICE)).mkdir(parents=True)
    layout.meta.mkdir(parents=True)
    (layout.meta / "agents.json").write_text("{}")
    settings = replace(host.settings(MANAGER), role=Role.MANAGER)
    generation = replace(host.generation(MANAGER), fingerprint=settings.fingerprint())
    script = "ls /applied /meta; touch /agents/alice/config/x && echo wrote; touch /applied/x 2>&1; touch /meta/x 2>&1"
    host.script = f"echo $HIVE_ROLE; {script}; echo end; {LINGER}"
    await host.backend.create(MANAGER, settings)
    await host.backend.set_system(MANAGER, generation)
    await host.backend.start(MANAGER, host.launch(generation))
    lines = (await host.until_logged(MANAGER, "end\n")).splitlines()
    assert lines[0] == "manager"
    assert {"alice", "agents.json", "wrote"} <= set(lines)
    assert sum("Read-only" in line or "denied" in line for line in lines) == 2
    assert (work / "x").exists()


# without bubblewrap
@pytest.fixture
def bare(open_host: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host without bubblewrap."""
    monkeypatch.setattr(sandbox, "available", lambda: None)
    return open_host


async def test_without_bubblewrap_an_agent_is_refused_with_what_to_install(bare: Host) -> None:
    await bare.reopen()
    with pytest.raises(Refused, match="isolation") as caught:
        await bare.bring_up(ALICE)
    assert "bubblewrap" in caught.value.hint
    assert "HIVE_ISOLATION=unsafe-none" in caught.value.hint
    assert "none" in bare.backend.abilities().isolation


async def test_without_bubblewrap_the_runtime_script_starts_with_the_hosts_paths(bare: Host) -> None:
    await bare.reopen()
    await bare.backend.create(ALICE, bare.settings(ALICE))
    generation = bare.generation(ALICE, runtime="script")
    await bare.backend.set_system(ALICE, generation)
    bare.script = f"id -u; echo $HIVE_STATE; pwd; cat $HIVE_CONFIG/agent.toml; trap 'exit 0' TERM; echo end; {LINGER}"
    await bare.backend.start(ALICE, bare.launch(generation))
    lines = (await bare.until_logged(ALICE, "end\n")).splitlines()
    state = str(bare.layout.agent_state(ALICE))
    assert lines == ["600000" if ROOT else str(os.getuid()), state, state, "# 1", "end"]
    await bare.backend.stop(ALICE, 5)
    ended = bare.backend.observe(ALICE).exit
    assert ended is not None
    assert ended.code == 0


async def test_unsafe_none_lets_every_runtime_start_and_nothing_is_left_after_a_stop(bare: Host) -> None:
    bare.config = bare.config.model_copy(update={"isolation": "unsafe-none"})
    await bare.reopen()
    bare.script = f"setsid sleep 1000 & echo $!; {LINGER}"
    await bare.bring_up(ALICE)
    runaway = int((await bare.until_logged(ALICE, "\n")).split()[0])
    assert bare.alive(runaway)
    await bare.backend.stop(ALICE, 5)
    assert not bare.alive(runaway)


@pytest.mark.skipif(not ROOT, reason="fixed uids need root")
async def test_without_bubblewrap_a_closed_parent_directory_is_named(bare: Host) -> None:
    bare.config = bare.config.model_copy(update={"isolation": "unsafe-none"})
    await bare.reopen()
    bare.layout.state.chmod(0o700)
    with pytest.raises(Refused, match="may not enter") as caught:
        await bare.bring_up(ALICE)
    assert str(bare.layout.state) in caught.value.hint


async def test_an_agent_that_is_set_not_to_be_isolated_still_needs_the_hosts_consent(open_host: Host) -> None:
    settings = replace(open_host.settings(ALICE), isolated=False)
    generation = replace(open_host.generation(ALICE), fingerprint=settings.fingerprint())
    await open_host.backend.create(ALICE, settings)
    await open_host.backend.set_system(ALICE, generation)
    with pytest.raises(Refused, match="turns its isolation off"):
        await open_host.backend.start(ALICE, open_host.launch(generation))
    open_host.config = open_host.config.model_copy(update={"isolation": "unsafe-none"})
    await open_host.reopen()
    await open_host.backend.start(ALICE, open_host.launch(generation))
    assert open_host.backend.observe(ALICE).running


async def test_bubblewrap_that_may_not_make_namespaces_counts_as_missing(
    local_host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sandbox, "available", lambda: str(broken))
    host = await enclosure.probe(local_host.config)
    assert host.sandbox is None
    assert "No permissions" in host.why

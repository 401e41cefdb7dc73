"""The enclosure of a run of an agent: the command line, the environment, the uid.

    with bubblewrap       own mount, pid, network, ipc and uts namespace; only the agent's own directories:
                          generation -> /config (ro), state -> /state, home -> /home/agent, sockets -> /run/hive (ro),
                          the way out -> /run/egress (ro), the pods' sockets -> /run/pods;
                          and the host's coding agents (meta.process.agent_programs);
                          the manager also: proposed -> /agents, applied -> /applied (ro), meta -> /meta (ro)
    without               the host's paths by HIVE_* variables; only if that was explicitly allowed

If hive can hand out uids the agent gets its own: in the sandbox as the last step before the command (bubblewrap needs
root to reach directories that the agent's uid may not enter), else by the supervisor. Otherwise it has the daemon's
uid, in a user namespace. An agent is never the host's root.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from meta.config import Config
from meta.errors import HiveError, Refused
from meta.layout import Layout
from meta.model import ContainerSettings, Role
from meta.names import AgentName
from meta.network.variables import PORT
from meta.process import agent_programs, sandbox
from meta.process.agent_programs import AgentProgram
from meta.process.privilege import ROOT_REMEDY, privilege
from meta.process.trial import tried
from meta.text import command_line
from reconciler.backends.local.scope_binds import scope_binds
from reconciler.plan.observed import Launch

INSIDE = {
    "HIVE_CONFIG": "/config",
    "HIVE_RUN": "/run/hive",
    "HIVE_PODS": "/run/pods",
    "HIVE_EGRESS": "/run/egress",
    "HIVE_EGRESS_PORT": str(PORT),
    "HIVE_STATE": "/state",
    "HIVE_AGENTS": "/agents",
    "HIVE_APPLIED": "/applied",
    "HIVE_META": "/meta",
    "HOME": "/home/agent",
}
"""The paths in the sandbox, and the port of the way out: the sandbox has a network namespace of its own."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The end of the agent's PATH. The daemon's names the folders of the session that started it."""

NIXOS_PROGRAMS = Path("/run/current-system/sw/bin")
"""The system's programs on a NixOS host. /run/current-system is in the sandbox if the host has it."""

ACCOUNTS = "etc"
"""The folder of the sandbox's passwd and group file, in the backend's folder of the agent."""

_INSTALL = "install bubblewrap (on Debian: apt-get install bubblewrap)"


@dataclass(frozen=True, slots=True)
class Host:
    """What this host can do. `as_root` is True if uids can be handed out.

    If `sandbox` is None bubblewrap is not usable; `why` is the reason, `remedy` what helps. `one_uid` says why a uid 0
    cannot hand out uids, "" if it can or the daemon is an ordinary user. `host_root` is True if the daemon is the
    host's root.
    """

    as_root: bool
    sandbox: sandbox.Host | None
    why: str = ""
    one_uid: str = ""
    host_root: bool = False
    remedy: str = ""

    def uid(self, config: Config, settings: ContainerSettings) -> int | None:
        """Return the uid of an agent's process and directories, None for the daemon's own."""
        return settings.uid_base if self.as_root and config.fixed_uids else None


async def probe(config: Config) -> Host:
    """Run bubblewrap once as agents would: it may be installed and not allowed to make namespaces."""
    mine = privilege(config.uid_start)
    may = (mine.hands_out_uids, mine.why, mine.host_root)
    try:
        host = await tried(config.uid_start)
    except HiveError as error:
        return Host(may[0], None, error.summary, may[1], may[2], error.hint)
    return Host(may[0], host, "", may[1], may[2])


@dataclass(frozen=True, slots=True)
class Enclosure:
    """The command and rights of one run. `uid`: the supervisor changes to this uid; None if it does not."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    uid: int | None
    sandboxed: bool


@dataclass(frozen=True, slots=True)
class Subject:
    """The agent that runs. `folder` is the backend's own for the agent, `tree` has the generation's files."""

    agent: AgentName
    settings: ContainerSettings
    launch: Launch
    folder: Path
    tree: Path
    runtime: str


def enclose(layout: Layout, config: Config, host: Host, subject: Subject, command: Sequence[str]) -> Enclosure:
    """Return the enclosure of `command`. Raise Refused if bubblewrap is missing and a run without it is not allowed."""
    uid = host.uid(config, subject.settings)
    _refuse_root(host, uid)
    programs = agent_programs.agent_programs(config, (layout.state, layout.runtime))
    soft = {"HIVE_SOFT_SCOPES": "true"} if config.soft_scopes else {}
    if host.sandbox is not None and subject.settings.isolated:
        inside = _sandbox(layout, subject, uid, programs, soft)
        argv = sandbox.command(inside, command, host.sandbox)
        # The first process inside is bubblewrap itself, whose environment the agent can read in /proc.
        return Enclosure(tuple(argv), {"PATH": search_path()}, "/", None, sandboxed=True)
    why = host.why if host.sandbox is None else "agents.json turns its isolation off"
    if config.isolation != "unsafe-none" and subject.runtime != "script":
        raise Refused(
            f"{subject.agent} does not start without isolation: {why}",
            f"{host.remedy or _INSTALL}; or set HIVE_ISOLATION=unsafe-none",
        )
    env = {**_environment(subject, _outside(layout, subject), search_path(_folders(programs))), **soft}
    if uid is not None:
        for path in (subject.tree, layout.agent_state(subject.agent), layout.sockets(subject.agent)):
            _require_passage(path, uid)
    return Enclosure(tuple(command), env, env["HIVE_STATE"], uid, sandboxed=False)


def search_path(first: Sequence[Path] = (), nixos: Path = NIXOS_PROGRAMS) -> str:
    """Return a PATH: the folders of programs `first`, then the system's."""
    return ":".join([*map(str, first), PATH, *([str(nixos)] if nixos.is_dir() else [])])


def _inside_path(programs: Sequence[AgentProgram]) -> str:
    return search_path((agent_programs.BIN, *(one.search for one in programs if one.search is not None)))


def _folders(programs: Sequence[AgentProgram]) -> tuple[Path, ...]:
    """Return the folders of programs on the host that are not on every PATH anyway."""
    here = (one.search or (one.path.parent if one.path is not None and not one.why else None) for one in programs)
    return tuple(dict.fromkeys(folder for folder in here if folder is not None and str(folder) not in PATH.split(":")))


def _refuse_root(host: Host, uid: int | None) -> None:
    """Raise Refused if the agent would be the host's root: a sandbox is no wall against that."""
    if uid == 0 or (uid is None and host.host_root):
        raise Refused(
            "an agent never runs as the host's root" + (f", and {host.one_uid}" if host.one_uid else ""), ROOT_REMEDY
        )


def _environment(subject: Subject, paths: dict[str, str], path: str) -> dict[str, str]:
    return {
        "PATH": path,
        "LANG": "C.UTF-8",
        "USER": "agent",
        "HIVE_AGENT": subject.agent,
        "HIVE_ROLE": str(subject.settings.role),
        "HIVE_GENERATION": subject.launch.generation,
        "HIVE_BOOT_NONCE": subject.launch.nonce,
        **paths,
    }


def _outside(layout: Layout, subject: Subject) -> dict[str, str]:
    return {
        "HIVE_CONFIG": str(subject.tree),
        "HIVE_RUN": str(layout.sockets(subject.agent)),
        "HIVE_PODS": str(layout.pods(subject.agent)),
        "HIVE_EGRESS": str(layout.egress(subject.agent)),
        "HIVE_STATE": str(layout.agent_state(subject.agent)),
        "HIVE_AGENTS": str(layout.state / "proposed"),
        "HIVE_APPLIED": str(layout.state / "applied"),
        "HIVE_META": str(layout.meta),
        "HOME": str(layout.agent_home(subject.agent)),
    }


def _require_passage(path: Path, uid: int) -> None:
    for directory in reversed(path.absolute().parents):
        status = directory.stat()
        if not status.st_mode & 0o001 and status.st_uid != uid:
            raise Refused(
                f"uid {uid} may not enter {directory}, which leads to {path}",
                f"{command_line('chmod', 'o+x', directory)}, or install bubblewrap, "
                "or use a --state that every user may enter",
            )


def _sandbox(
    layout: Layout, subject: Subject, uid: int | None, programs: Sequence[AgentProgram], soft: Mapping[str, str]
) -> sandbox.Sandbox:
    agent = subject.agent
    read_only = [(path, path) for path in sandbox.python_closure()]
    read_only += [(subject.tree, Path("/config")), *_etc(subject, uid)]
    # the agent may connect to its sockets, and cannot fill the host's /run
    read_only += [(layout.sockets(agent), Path("/run/hive")), (layout.egress(agent), Path("/run/egress"))]
    read_only += [one.bind for one in programs if one.bind is not None]
    writable = [
        (layout.agent_state(agent), Path("/state")),
        (layout.agent_home(agent), Path("/home/agent")),
        (layout.pods(agent), Path("/run/pods")),
    ]
    scoped = scope_binds(subject.tree, subject.folder, tuple(writable))
    read_only += scoped.read_only
    writable += scoped.writable
    if subject.settings.role is Role.MANAGER:
        writable += [(layout.state / "proposed", Path("/agents"))]
        read_only += [(layout.state / "applied", Path("/applied")), (layout.meta, Path("/meta"))]
    return sandbox.Sandbox(
        read_only=tuple(read_only),
        writable=tuple(writable),
        links=tuple(one.link for one in programs if one.link is not None),
        env=tuple({**_environment(subject, INSIDE, _inside_path(programs)), **soft}.items()),
        uid=uid,
        hostname=agent,
        cwd=Path("/"),  # bubblewrap enters it before it changes the uid, when it may not enter /state
    )


def _etc(subject: Subject, uid: int | None) -> list[tuple[Path, Path]]:
    """Write passwd and group files that name the agent, since git and ssh need a name for the uid they run under, and
    hosts: without it `localhost` is no name.

    The manager reads hive's repos (/applied, /meta), which belong to another uid, so its git gets safe.directory. Its
    container has no other repos, and git before 2.46 knows no narrower pattern than `*`.
    """
    folder, names = subject.folder, ["passwd", "group", "hosts"]
    number, group = (uid, uid) if uid is not None else (os.getuid(), os.getgid())
    etc = folder / ACCOUNTS
    etc.mkdir(mode=0o755, exist_ok=True)
    (etc / "passwd").write_text(f"agent:x:{number}:{group}:agent:/home/agent:/bin/sh\n", encoding="ascii")
    (etc / "group").write_text(f"agent:x:{group}:\n", encoding="ascii")
    (etc / "hosts").write_text(f"127.0.0.1 localhost {subject.agent}\n::1 localhost\n", encoding="ascii")
    if subject.settings.role is Role.MANAGER:
        (etc / "gitconfig").write_text("[safe]\n\tdirectory = *\n", encoding="ascii")
        names.append("gitconfig")
    return [(etc / name, Path("/etc") / name) for name in names]

"""`hive shell`: a program in an agent's container, as the agent's user. It is the CLI that enters, not the daemon.

backend local   into the namespaces of the running container, as root or as the user that runs hive; then
                the agent's uid, no capabilities, no new privileges, the agent's environment and cgroups
backend nixos   machinectl or systemd-run, as root
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.client.http import Client
from api.cli.command import RUN, AgentArgument, command
from meta.errors import Conflict, PermanentError, Refused
from meta.process.ownership import require_own, require_own_entries

BASH = "/run/current-system/sw/bin/bash"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    command(app, "shell", RUN, examples=("hive shell alice", "hive shell alice -- ls -l /state"))(shell)


def shell(
    client: Client,
    agent: AgentArgument,
    program: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMMAND...", help="after --: a program to run there", show_default="a shell"),
    ] = None,
    user: Annotated[
        str, typer.Option("--user", metavar="NAME", help="backend nixos: the user in the container")
    ] = "agent",
) -> None:
    """A shell in an agent's container, or the given program; ends with its exit code.

    It runs as the agent's user with no more rights than the agent has, and on a terminal of its own: nothing in the
    container gets hold of yours. Take it as the agent's own room all the same: its programs and files are not yours.
    """
    found = client.row("/api/status")
    client.rows("/api/plan", {"agent": agent})  # is there such an agent?
    match found["backend"]:
        case "local":
            code = _local(_records(client, agent), agent, program or ["/bin/sh"])
        case "nixos":
            code = _nixos(agent, user, program or [])
        case other:
            raise Refused(f"backend {other} has no containers to enter", "use backend local or nixos")
    raise typer.Exit(code)


def _records(client: Client, agent: str) -> Path:
    """Return the backend's folder of the agent, whose records are followed: below the CLI's own state directory."""
    folder = client.where.state / "backend" / "local" / agent
    require_own(folder, client.where.trusted)
    require_own_entries(folder, client.where.trusted)
    return folder


def _local(folder: Path, agent: str, program: list[str]) -> int:
    from api.cli.terminal.namespaces import Room  # these take a while
    from api.cli.terminal.terminal import enclosed
    from meta.process.identity import ProcessIdentity, alive

    run, spec = _record(folder / "run.json", agent), _record(folder / "spec.json", agent)
    child = ProcessIdentity(run["child"]["pid"], run["child"]["start"], run["boot"])
    if not alive(child) or run["nonce"] != spec["nonce"]:
        raise _stopped(agent)
    if not spec["sandboxed"]:
        raise Refused(
            f"{agent} runs without isolation: there is no container to enter",
            f"it sees this host as it is; its files are in {folder.parents[2] / 'agents' / agent}",
        )
    room = Room(_first_of(child.pid, agent))
    try:
        if not alive(child):
            raise _stopped(agent)
        own_uid = os.geteuid() != 0 or room.of_a_user
        argv = inner(spec["argv"], program, own_uid=own_uid, terminal=os.isatty(0))
        return enclosed(argv, {"PATH": os.environ.get("PATH", os.defpath)}, spec["cgroups"], room.enter)
    finally:
        room.close()


def _record(path: Path, agent: str) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError as error:
        raise _stopped(agent) from error
    except PermissionError as error:
        raise Refused(f"you may not read {path}", f"as root or as hive's user: `sudo hive shell {agent}`") from error


def _stopped(agent: str) -> Conflict:
    return Conflict(f"{agent} does not run", f"`hive start {agent} --wait`, then again")


def _first_of(pid: int, agent: str) -> int:
    """The first process in the container: bubblewrap's own, whose namespaces no program of the agent can change."""
    try:
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()[0])
    except (OSError, IndexError) as error:
        raise _stopped(agent) from error


def inner(enclosure: list[str], program: list[str], *, own_uid: bool, terminal: bool) -> list[str]:
    """The command line that runs `program` as `enclosure` (bubblewrap's) ran the agent, once one is in its namespaces.

    Every right is given up before the first thing of the agent's is touched: its environment. `own_uid`: there is no
    other uid to become, and no right that is left after an exec.
    """
    argv = [_tool("setsid"), "--ctty"] if terminal else []  # in this pid namespace, for job control
    argv += [_tool("setpriv"), "--inh-caps=-all", "--no-new-privs"]
    if not own_uid:
        uid = _uid_of(enclosure)
        argv += ["--bounding-set=-all", "--reuid", uid, "--regid", uid, "--clear-groups"]
    places = [at for at, word in enumerate(enclosure) if word == "--setenv"]
    variables = {enclosure[at + 1]: enclosure[at + 2] for at in places}
    variables |= {key: os.environ[key] for key in ("TERM", "COLORTERM") if key in os.environ}
    home = variables.get("HOME", "/")
    return [*argv, "--", _tool("env"), "-i", f"--chdir={home}", *(f"{k}={v}" for k, v in variables.items()), *program]


def _uid_of(enclosure: list[str]) -> str:
    """Return the uid that the agent runs under. Refused for the host's root, which enters no container."""
    uid = enclosure[enclosure.index("--reuid") + 1] if "--reuid" in enclosure[:-1] else "0"
    if not uid.isdecimal() or int(uid) == 0:
        raise Refused(
            "this agent was started as the host's root, and its container is not entered like that",
            "unset HIVE_FIXED_UIDS, restart the daemon, then `hive restart` the agent",
        )
    return uid


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise PermanentError(f"{name} is not installed", "on Debian: apt-get install util-linux coreutils")
    return found


def _nixos(agent: str, user: str, program: list[str]) -> int:
    if os.geteuid() != 0:
        raise Refused("only root may enter a container of backend nixos", f"`sudo hive shell {agent}`")
    argv = nixos_command(agent, user, program, terminal=sys.stdin.isatty() and sys.stdout.isatty())
    from api.cli.terminal.terminal import foreground

    return foreground(argv)


def nixos_command(agent: str, user: str, program: list[str], *, terminal: bool) -> list[str]:
    """systemd's own tools: they make a terminal in the container and copy what passes."""
    if not program and terminal:
        return ["machinectl", "--quiet", "shell", f"{user}@{agent}"]
    # a login shell knows the container's PATH; what it runs are its arguments, not its script
    inside = [BASH, "-l"] if not program else [BASH, "-lc", 'exec "$@"', "hive", *program]
    how = "--pty" if terminal else "--pipe"
    return ["systemd-run", f"--machine={agent}", f"--uid={user}", "--quiet", "--wait", "--collect", how, "--", *inside]

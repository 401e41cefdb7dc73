"""`hive shell`: run a program in an agent's container, as the agent's user. The CLI enters it, not the daemon.

backend local   enter the namespaces of the running container, as root or as the user that runs hive; then take
                the agent's uid, environment and cgroups, without capabilities and new privileges
backend nixos   use systemd-run, as root, with the settings of the harness's unit
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.client.http import Client
from api.cli.command import RUN, AgentArgument, command
from meta.errors import Conflict, HiveError, PermanentError, Refused
from meta.network.variables import BUNDLE, OTHER_BUNDLES, PORT, ca_variables, git_variables, proxy_variables
from meta.process.ownership import require_own, require_own_entries
from meta.process.seccomp.unit import settings

BASH = "/run/current-system/sw/bin/bash"
HARNESS = "/run/current-system/sw/bin/hive-harness"
"""The harness's program in a container of backend nixos."""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    command(app, "shell", RUN, examples=("hive shell alice", "hive shell alice -- ls -l /state"))(shell)


def shell(
    client: Client,
    agent: AgentArgument,
    program: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMMAND...", help="the program to run, after --", show_default="a shell"),
    ] = None,
    user: Annotated[
        str, typer.Option("--user", metavar="NAME", help="backend nixos: the user in the container")
    ] = "agent",
) -> None:
    """Run a shell or the given program in an agent's container, and exit with its exit code.

    It runs as the agent's user with the agent's rights, and on a terminal of its own: programs in the container cannot
    reach yours. Still be careful: the programs and files there are the agent's.
    """
    raise typer.Exit(run_in_container(client, agent, program or [], user))


def run_in_container(client: Client, agent: str, program: list[str], user: str = "agent", harness: bool = False) -> int:
    """Run a program in an agent's container, and return its exit code. Empty: a shell.

    With `harness` the program is that of the harness there, and `program` its arguments.
    """
    status = client.row("/api/status")
    client.rows("/api/plan", {"agent": agent})  # raises NotFound if there is no such agent
    repos = {} if harness else _repos(client, agent)
    match status["backend"]:
        case "local":
            return _local(_records(client, agent), agent, program or ["/bin/sh"], repos, harness)
        case "nixos":
            return _nixos(agent, user, [HARNESS, *program] if harness else program, repos)
        case other:
            raise Refused(f"backend {other} has no containers to enter", "use backend local or nixos")


def _repos(client: Client, agent: str) -> dict[str, str]:
    """Return where the agent's keys of kind git lead, by name. A daemon before the way out has none."""
    try:
        (view,) = client.rows("/api/network", {"agent": agent})
    except (HiveError, ValueError):
        return {}
    return dict(view.get("repos", {}))


def _records(client: Client, agent: str) -> Path:
    """Return the backend's folder of the agent, whose records are followed: below the CLI's own state directory."""
    folder = client.where.state / "backend" / "local" / agent
    require_own(folder, client.where.trusted)
    require_own_entries(folder, client.where.trusted)
    return folder


def _local(folder: Path, agent: str, program: list[str], repos: Mapping[str, str], harness: bool) -> int:
    from api.cli.terminal.namespaces import Namespaces  # slow to import
    from api.cli.terminal.terminal import run_on_own_terminal
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
    namespaces = Namespaces(_first_of(child.pid, agent))
    try:
        if not alive(child):
            raise _stopped(agent)
        own_uid = os.geteuid() != 0 or namespaces.without_root
        program = [*harness_words(spec["argv"]), *program] if harness else program
        argv = container_command(spec["argv"], program, repos, own_uid=own_uid, terminal=os.isatty(0))
        # The agent can read this environment in /proc until `env` replaces it: it has no folder of the caller's.
        return run_on_own_terminal(argv, {"PATH": os.defpath}, spec["cgroups"], namespaces.enter)
    finally:
        namespaces.close()


def _record(path: Path, agent: str) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError as error:
        raise _stopped(agent) from error
    except PermissionError as error:
        raise Refused(f"you may not read {path}", f"as root or as hive's user: `sudo hive shell {agent}`") from error


def _stopped(agent: str) -> Conflict:
    return Conflict(f"{agent} is not running", f"`hive start {agent} --wait`, then try again")


def _first_of(pid: int, agent: str) -> int:
    """Return the first process in the container: bubblewrap's. The agent cannot change its namespaces."""
    try:
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()[0])
    except (OSError, IndexError) as error:
        raise _stopped(agent) from error


def container_command(
    enclosure: list[str], program: list[str], repos: Mapping[str, str], *, own_uid: bool, terminal: bool
) -> list[str]:
    """Return the command that runs `program` in the container as bubblewrap's command `enclosure` ran the agent.

    `repos` has where the agent's keys of kind git lead.
    It drops all rights before it uses the first thing that the agent controls, the environment. `own_uid`: the agent
    has the caller's uid, so no uid changes; an exec drops all rights.
    """
    argv = [_tool("setsid"), "--ctty"] if terminal else []  # a session in this pid namespace, for job control
    argv += [_tool("setpriv"), "--inh-caps=-all", "--no-new-privs"]
    if not own_uid:
        uid = _uid_of(enclosure)
        argv += ["--bounding-set=-all", "--reuid", uid, "--regid", uid, "--clear-groups"]
    positions = [at for at, word in enumerate(enclosure) if word == "--setenv"]
    variables = {enclosure[at + 1]: enclosure[at + 2] for at in positions}
    variables |= _way_out(enclosure, variables, repos)
    variables |= {key: os.environ[key] for key in ("TERM", "COLORTERM") if key in os.environ}
    home = variables.get("HOME", "/")
    return [*argv, "--", _tool("env"), "-i", f"--chdir={home}", *(f"{k}={v}" for k, v in variables.items()), *program]


def _way_out(enclosure: list[str], variables: Mapping[str, str], repos: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the way out, as the agent's CLI has them. An older run has none."""
    port = variables.get("HIVE_EGRESS_PORT", "")
    if not port.isdecimal():
        return {}
    bundles = (path for path in (BUNDLE, *OTHER_BUNDLES) if Path(path).exists())  # the container has the host's
    proxy = proxy_variables(int(port), harness_words(enclosure))
    return {**ca_variables(bundles), **proxy, **git_variables(proxy["https_proxy"], repos)}


def harness_words(enclosure: list[str]) -> list[str]:
    """Return the words that run `hive-harness` in the container, from those that started it there."""
    begin = max((at for at, word in enumerate(enclosure) if word == "--"), default=-1)
    started = enclosure[begin + 1 :]
    # another command than hive's own: the container has this hive's Python all the same
    return started[:-1] if started[-1:] == ["serve"] else [sys.executable, "-P", "-m", "harness.cli"]


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
    path = shutil.which(name)
    if path is None:
        raise PermanentError(f"{name} is not installed", "on Debian: apt-get install util-linux coreutils")
    return path


def _nixos(agent: str, user: str, program: list[str], repos: Mapping[str, str]) -> int:
    if os.geteuid() != 0:
        raise Refused("only root may enter a container of backend nixos", f"`sudo hive shell {agent}`")
    argv = nixos_command(agent, user, program, repos, terminal=sys.stdin.isatty() and sys.stdout.isatty())
    from api.cli.terminal.terminal import foreground

    return foreground(argv)


def nixos_command(agent: str, user: str, program: list[str], repos: Mapping[str, str], *, terminal: bool) -> list[str]:
    """Return the command of systemd's own tool, which makes a terminal in the container and copies its bytes.

    Not `machinectl shell`, which takes no settings: the agent's files, its shell's start-up file among them, would run
    without the filter.
    """
    # A login shell sets the container's PATH. The program is passed as arguments, so the shell does not parse it.
    script = 'exec "$@"' if program else 'cd; exec "$BASH" -l'
    how = "--pty" if terminal else "--pipe"
    words = ["systemd-run", f"--machine={agent}", f"--uid={user}", "--quiet", "--wait", "--collect", how]
    proxy = proxy_variables(PORT, [HARNESS])
    variables = {**proxy, **git_variables(proxy["https_proxy"], repos)}
    words += [f"--setenv={name}={value}" for name, value in variables.items()]
    words += [f"--property={key}={value}" for key, value in {**settings(), "NoNewPrivileges": "true"}.items()]
    return [*words, "--", BASH, "-lc", script, "hive", *program]

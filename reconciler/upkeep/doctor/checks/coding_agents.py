"""The check of the coding agents' CLIs on this host: which there are, as agents of backend `local` see them.

Each is run once for its version, in a sandbox with nothing but the system and the program itself: it is a program of
a third party, and perhaps a user's.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

from meta.agent_toml.clis import CLIS, LOGIN_INSTALL, Cli, cli_of, is_too_old
from meta.agent_toml.settings import SETTINGS_FILE, AgentSettings
from meta.config import Config
from meta.errors import HiveError, NotFound
from meta.names import AgentName, Sha
from meta.process import sandbox
from meta.process.privilege import privilege
from meta.process.run import Streams, run
from meta.process.trial import tried
from meta.proposed.settings import read_settings
from meta.text import one_line
from reconciler.upkeep.doctor.checks.base import Finding, Subject, Verdict, ok
from reconciler.upkeep.doctor.checks.programs import PATH, Place

SECONDS = 15.0
"""Seconds for one program to print its version. Those on node take one on an idle host."""
OUTPUT_MOST = 64 * 1024
_VERSION = re.compile(r"\d+(?:\.\d+)+[-+.\w]{0,40}")

_NODE = "install node 22 (on Debian: apt-get install nodejs; newer ones are at https://nodejs.org)"
INSTALL: Mapping[str, str] = {cli.program: cli.remedy for cli in CLIS.values()} | {
    **{name: how for name, how in LOGIN_INSTALL.items() if name not in {cli.program for cli in CLIS.values()}},
    "node": _NODE,
}
"""The programs that are looked for, and how a person gets each."""


async def coding_agents(subject: Subject) -> list[Finding]:
    """Check that the CLI of each agent's runtime is there, is new enough and starts."""
    if subject.backend != "local":
        return _reported(subject)
    config, path, whose = _search(subject)
    found = await asyncio.to_thread(subject.host.programs, config, path)
    places = {name: place for name, place in found.items() if name in INSTALL}
    versions = await _versions(subject, places)
    findings = [*_unusable(places, versions), *await _missing(subject, places, versions)]
    have = ", ".join(f"{name} {version}" for name, version in versions.items() if version) or "none"
    absent = ", ".join(name for name in INSTALL if name not in places)
    return [*ok(f"there are {have} on {whose}" + (f"; not installed: {absent}" if absent else "")), *findings]


def _search(subject: Subject) -> tuple[Config, str | None, str]:
    """Return the settings and the PATH by which programs are looked for, and in words whose these are."""
    daemon = subject.daemon
    if daemon is not None and daemon.path is not None:
        return subject.config.model_copy(update={"agent_programs": daemon.named}), daemon.path, "the daemon's PATH"
    why = "no daemon answers" if daemon is None else "the daemon does not say its own"
    return subject.config, None, f"the PATH of this command, because {why}"


def _reported(subject: Subject) -> list[Finding]:
    """Return what the harnesses report of CLIs that are in the agents' own systems."""
    own = f"agents of backend {subject.backend} bring their own"
    if subject.daemon is None:
        return ok(f"{own}; without a daemon nobody knows which")
    seen = ", ".join(f"{row.name} has {one_line(row.program, 100)}" for row in subject.daemon.agents if row.program)
    return [*ok(f"{own}: {seen}" if seen else f"{own}; no harness reported one yet"), *_problems(subject, set())]


def _problems(subject: Subject, known: set[str]) -> list[Finding]:
    """Return a finding for each agent whose harness cannot start its CLI, unless it is in `known`."""
    rows = subject.daemon.agents if subject.daemon is not None else ()
    if subject.backend == "local":
        remedy = "do what it says; `hive edit AGENT` changes its agent.toml"
    else:
        remedy = "its own system brings its CLI: docs/howto/nixos.md, Decide what agents get"
    return [
        Finding(Verdict.FAIL, f"{row.name} cannot work, says its harness: {one_line(row.problem, 500)}", remedy)
        for row in rows
        if row.problem and row.name not in known
    ]


async def _versions(subject: Subject, places: Mapping[str, Place]) -> dict[str, str]:
    """Return the version of each program that agents can run, "" for one that does not print any."""
    first = subject.config.uid_start
    usable = {name: place for name, place in places.items() if not place.why}
    try:
        host = await tried(first)
    except HiveError:  # the check `bubblewrap` reports that; nothing of a third party is run without a sandbox
        return dict.fromkeys(usable, "of unknown version")
    uid = first if privilege(first).hands_out_uids else None
    found = await asyncio.gather(*(_version(place, usable.get("node"), uid, host) for place in usable.values()))
    return dict(zip(usable, found, strict=True))


async def _version(place: Place, node: Place | None, uid: int | None, host: sandbox.Host) -> str:
    """Return the version that a program prints. `node` is what it may run on."""
    places = (place,) if node is None or node is place else (place, node)
    inside = sandbox.Sandbox(
        read_only=tuple(bind for each in places for bind in each.binds),
        links=tuple(link for each in places for link in each.links),
        env=(("PATH", PATH), ("HOME", "/tmp")),  # noqa: S108
        uid=uid,
    )
    argv = sandbox.command(inside, [place.inside, "--version"], host)
    try:
        done = await run(argv, deadline=SECONDS, check=False, streams=Streams(output_limit=OUTPUT_MOST))
    except HiveError:
        return ""
    match = _VERSION.search(done.text)
    return one_line(match[0], 40) if match and done.code == 0 else ""


def _unusable(places: Mapping[str, Place], versions: Mapping[str, str]) -> list[Finding]:
    findings = []
    for name, place in places.items():
        if place.why:
            text = f"{place.path} is there, and agents cannot run it: {place.why}"
            findings.append(Finding(Verdict.WARN, text, f"install it for all users: {INSTALL[name]}"))
        elif not versions[name]:
            text = f"{place.path} does not print its version in a sandbox"
            findings.append(Finding(Verdict.WARN, text, f"install it again: {INSTALL[name]}"))
        elif any(cli.program == name and is_too_old(cli, versions[name]) for cli in CLIS.values()):
            text = f"{place.path} is too old for hive: {versions[name]}"
            findings.append(Finding(Verdict.WARN, text, f"install a newer one: {INSTALL[name]}"))
    return findings


async def _missing(subject: Subject, places: Mapping[str, Place], versions: Mapping[str, str]) -> list[Finding]:
    """Return the findings about each agent whose runtime's programs are not there, or of no use."""
    view, findings, named = await subject.view(), [], set()
    for agent, entry in sorted(view.desired.agents.items()) if view is not None else ():
        settings = await _settings(subject, agent, entry.pin.sha)
        cli = cli_of(settings.runtime) if settings is not None else None
        if settings is None or cli is None:
            continue
        if settings.command is None and (what := _fault(cli, places, versions)):
            named.add(str(agent))
            text = f"{agent} cannot work: its runtime {settings.runtime} needs {cli.program}, which {what}"
            remedy = f"{cli.remedy}; or name another program with `command` in its agent.toml"
            findings.append(Finding(Verdict.FAIL, text, remedy))
        if cli.login and not versions.get(cli.login):
            what = "does not start" if cli.login in places else "is not installed"
            text = f"`hive login {agent}` needs {cli.login}, which {what}"
            remedy = f"{LOGIN_INSTALL[cli.login]}; or put its login in place as a file: docs/howto/login.md"
            findings.append(Finding(Verdict.WARN, text, remedy))
    return [*findings, *_problems(subject, named)]


def _fault(cli: Cli, places: Mapping[str, Place], versions: Mapping[str, str]) -> str:
    """Return why an agent cannot use its CLI, "" if it can."""
    version = versions.get(cli.program)
    if version:
        return f"is too old: {version}" if is_too_old(cli, version) else ""
    return "does not start" if cli.program in places else "is not installed"


async def _settings(subject: Subject, agent: AgentName, sha: Sha) -> AgentSettings | None:
    """Return the agent.toml that the agent runs with; None if it cannot be read (other checks report that)."""
    try:
        return await read_settings(await subject.applied(agent).read(sha, SETTINGS_FILE))
    except NotFound:
        return AgentSettings()
    except HiveError:
        return None

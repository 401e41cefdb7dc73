"""The check of the coding agents' CLIs on this host: which there are, as agents of backend `local` see them.

Each is run once for its version, in a sandbox with nothing but the system and the program itself: it is a program of
a third party, and perhaps a user's.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

from meta.agent_toml.settings import SETTINGS_FILE, AgentSettings
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

INSTALL: Mapping[str, str] = {
    # with its version, or npm on node 20 takes the newest that is for it, which hive refuses
    "claude": "npm install -g @anthropic-ai/claude-code@2.1.329 (or a newer one, named by its version)",
    "codex-acp": "npm install -g @agentclientprotocol/codex-acp (it brings codex; node 20 or newer)",
    "gemini": "npm install -g @google/gemini-cli (node 20 or newer)",
    "opencode": "npm install -g opencode-ai",
    "claude-agent-acp": "npm install -g @agentclientprotocol/claude-agent-acp (node 22 or newer)",
    "node": "install node 22 (on Debian: apt-get install nodejs; newer ones are at https://nodejs.org)",
}
"""The programs that are looked for, and how a person gets each."""

PROGRAMS: Mapping[str, str] = {
    "claude": "claude",
    "claude-acp": "claude-agent-acp",
    "codex": "codex-acp",
    "gemini": "gemini",
    "opencode": "opencode",
}
"""The program of each runtime that has one of its own."""


async def coding_agents(subject: Subject) -> list[Finding]:
    """Check that the CLI of each agent's runtime is there and starts."""
    if subject.backend != "local":
        return ok(f"agents of backend {subject.backend} bring their own")
    found = await asyncio.to_thread(subject.host.programs, subject.config)
    places = {name: place for name, place in found.items() if name in INSTALL}
    versions = await _versions(subject, places)
    findings = [*_unusable(places, versions), *await _missing(subject, places, versions)]
    have = ", ".join(f"{name} {version}" for name, version in versions.items() if version) or "none"
    absent = ", ".join(name for name in INSTALL if name not in places)
    return [*ok(f"there are {have}" + (f"; not installed: {absent}" if absent else "")), *findings]


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
    return findings


async def _missing(subject: Subject, places: Mapping[str, Place], versions: Mapping[str, str]) -> list[Finding]:
    """Return a finding for each agent whose runtime's program is not there."""
    view, findings = await subject.view(), []
    for agent, entry in sorted(view.desired.agents.items()) if view is not None else ():
        settings = await _settings(subject, agent, entry.pin.sha)
        program = PROGRAMS.get(settings.runtime) if settings is not None and settings.command is None else None
        if settings is None or program is None or versions.get(program):
            continue
        what = "does not start" if program in places else "is not installed"
        text = f"{agent} cannot work: its runtime {settings.runtime} needs {program}, which {what}"
        remedy = f"{INSTALL[program]}; or name another program with `command` in its agent.toml"
        findings.append(Finding(Verdict.FAIL, text, remedy))
    return findings


async def _settings(subject: Subject, agent: AgentName, sha: Sha) -> AgentSettings | None:
    """Return the agent.toml that the agent runs with; None if it cannot be read (other checks report that)."""
    try:
        return await read_settings(await subject.applied(agent).read(sha, SETTINGS_FILE))
    except NotFound:
        return AgentSettings()
    except HiveError:
        return None

"""The check of the credentials that agents of backend `nixos` need: what the next start of each would say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from meta.errors import Damaged, HiveError
from meta.names import AgentName
from meta.own_file import read
from reconciler.privileged import conf
from reconciler.privileged.conf import Credential
from reconciler.privileged.credentials import Hidden, for_start, given, needed
from reconciler.privileged.values import Bounds
from reconciler.upkeep.doctor.checks.base import Finding, Host, Subject, Verdict, names_in, ok

_CONF_BYTES = 64 * 1024


async def credentials(subject: Subject) -> list[Finding]:
    """Compare what agents need with what the host gives them. No secret is opened."""
    if subject.backend != "nixos":
        return ok(f"agents of backend {subject.backend} have theirs in their homes")
    host = subject.host
    try:
        lists = given(host.credentials, host.root)
    except HiveError as error:
        return [Finding(Verdict.FAIL, f"{error.summary}; no agent that needs one starts", error.hint)]
    agents = [agent for agent in names_in(subject.layout.backend("nixos")) if _system(host, agent) is not None]
    findings = [finding for agent in agents for finding in _of_agent(host, agent, lists.get(agent, {}))]
    findings += [_unknown(name) for name in lists if name not in agents and lists[name]]
    return findings or ok(f"{len(agents)} have what they need")


def _of_agent(host: Host, agent: AgentName, own: Mapping[str, Credential]) -> Iterator[Finding]:
    system = _system(host, agent) or ""
    try:
        ids = needed(system, str(Path(system).parent))
    except HiveError as error:
        yield Finding(Verdict.FAIL, f"{agent} does not start: {error.summary}", error.hint)
        return
    for id in ids:
        try:
            for_start(agent, own, (id,), str(Path(system).parent), host.root)
        except Hidden as error:
            yield Finding(Verdict.WARN, error.summary, "run `hive doctor` as root")
        except HiveError as error:
            yield Finding(Verdict.FAIL, f"{agent} does not start: {error.summary}", error.hint)
    for id in sorted(own.keys() - set(ids)):
        text = f"{agent} is given the credential {id} and does not ask for it, so it is not passed on"
        remedy = f"add it to hive.agent.credentials, or remove services.hive.credentials.{agent}.{id}"
        yield Finding(Verdict.WARN, text, remedy)


def _unknown(name: AgentName) -> Finding:
    remedy = f"`hive spawn {name}`, or remove services.hive.credentials.{name}"
    return Finding(Verdict.WARN, f"there are credentials for {name}, and there is no such agent", remedy)


def _system(host: Host, agent: AgentName) -> str | None:
    """Return what the agent boots, or None if it has no container."""
    try:
        text = read(host.containers / f"{agent}.conf", _CONF_BYTES).decode("utf-8", "replace")
    except (OSError, Damaged):
        return None
    lines = [line.removeprefix("SYSTEM_PATH=") for line in text.splitlines() if line.startswith("SYSTEM_PATH=")]
    if len(lines) != 1:
        return None
    bounds = replace(Bounds(), store=str(Path(lines[0]).parent))
    return conf.read_back(text, bounds).system

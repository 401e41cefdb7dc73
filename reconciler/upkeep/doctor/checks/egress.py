"""The check of the agents' way out: hive-egress, the operator's file, the keys, and the logins that live inside."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from meta.agent_toml.settings import SETTINGS_FILE, AgentSettings
from meta.errors import HiveError
from meta.names import AgentName
from meta.network.control import LINE_LIMIT, VERSION, decode_line, decode_report, encode_line
from meta.network.operator_file import OperatorFile, ceiling_of
from meta.network.operator_watch import OperatorWatch
from meta.network.report import Report
from meta.network.routes import MODEL_ROUTES, model_route
from meta.network.rule import beyond
from meta.network.runtime_hosts import RUNTIME_HOSTS
from meta.proposed.settings import read_settings
from meta.text import one_line
from reconciler.common.revision import differs
from reconciler.upkeep.doctor.checks.base import Finding, Subject, Verdict, ok

SECONDS = 5.0
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
_KEYS = "docs/reference/keys.md"


async def way_out(subject: Subject) -> list[Finding]:
    """Check that hive-egress answers and is well, and name the agents whose login lives in their container."""
    if subject.backend == "fake":
        return ok("agents of backend fake reach nothing")
    file, findings = _operator_file(subject)
    findings += _proxy(subject.host.environment)
    findings += await _process(subject, tuple(each.text for each in findings))
    if file is not None:
        findings += await _agents(subject, file)
    return findings


def _operator_file(subject: Subject) -> tuple[OperatorFile | None, list[Finding]]:
    """Return the operator's file, and what is wrong with it or with the ceiling."""
    config = subject.config
    path = Path(config.network_file or subject.layout.network_file)
    remedy = "mend it; until then the last good version counts: docs/reference/network.md"
    watch = OperatorWatch(
        path, config.network_ceiling, may_miss=not config.network_file, trusted=_owners(subject.layout.state)
    )
    if (fault := watch.file_fault) is not None:
        if isinstance(fault.__cause__, OSError):
            return None, [Finding(Verdict.WARN, fault.summary, "run this as hive's user")]
        return None, [Finding(Verdict.FAIL, fault.summary, fault.hint or remedy)]
    if (fault := watch.ceiling_fault) is not None:
        return watch.file, [Finding(Verdict.FAIL, fault.summary, fault.hint or remedy)]
    return watch.file, []


def _owners(state: Path) -> tuple[int, ...]:
    """Return hive's user: the owner of the state directory."""
    try:
        return (state.stat().st_uid,)
    except OSError:
        return ()


def _proxy(environment: Mapping[str, str]) -> list[Finding]:
    named = [name for name in PROXIES if environment.get(name)]
    if not named:
        return []
    text = f"{named[0]} is set, and hive-egress does not use it: it connects by itself"
    return [Finding(Verdict.WARN, text, "let the host reach what agents may reach without that proxy")]


async def _process(subject: Subject, known: tuple[str, ...]) -> list[Finding]:
    path = Path(subject.config.egress_control or subject.layout.egress_control)
    own = subject.config.egress_start
    log = f"see {subject.layout.egress_state / 'log'}" if own else "see `journalctl -u hive-egress`"
    try:
        report = await _report(path)
    except PermissionError:
        return [Finding(Verdict.WARN, f"uid {os.geteuid()} may not ask {path}", "run this as hive's user, or as root")]
    except (OSError, TimeoutError, HiveError, ValueError) as error:
        why = one_line(getattr(error, "strerror", None) or str(error) or "it does not answer in time", 200)
        if own and not subject.held:
            return ok("hive-egress does not run: a daemon starts it")
        text = f"hive-egress does not answer at {path}: {why}; agents wait"
        return [Finding(Verdict.FAIL, text, f"{log}; the daemon starts it again" if own else log)]
    return _judge(report, log, known)


def _judge(report: Report, log: str, known: tuple[str, ...] = ()) -> list[Finding]:
    """Return what is wrong with a hive-egress that answers, but for what is `known` of the operator's file already."""
    findings = []
    if report.version != VERSION:
        text = f"hive-egress speaks protocol {report.version}, this hive {VERSION}"
        findings.append(Finding(Verdict.FAIL, text, "restart hive-egress, or the daemon that starts it"))
    elif report.revision and (ours := differs(report.revision)):
        text = f"hive-egress runs {report.revision}, this command is {ours}"
        remedy = "restart it (its connections end): `hive down` and `hive serve`, or systemctl restart hive-egress"
        findings.append(Finding(Verdict.WARN, text, remedy))
    for name, problem in report.routes.items():
        if problem:
            findings.append(Finding(Verdict.FAIL, f"the key {name}: {one_line(problem, 300)}", f"mend it: {_KEYS}"))
    own = [each for each in report.problems if not each.startswith(known)]
    findings += [Finding(Verdict.FAIL, f"hive-egress: {one_line(each, 300)}", log) for each in own]
    for agent, each in report.agents.items():
        if each.problem:
            text = f"{one_line(agent, 80)} has no way out: {one_line(each.problem, 300)}"
            findings.append(Finding(Verdict.FAIL, text, log))
    keys = ", ".join(name for name, problem in report.routes.items() if not problem) or "none"
    return findings or ok(f"hive-egress answers (pid {report.pid}); keys outside: {keys}")


async def _report(path: Path) -> Report:
    async with asyncio.timeout(SECONDS):
        reader, writer = await asyncio.open_unix_connection(str(path), limit=LINE_LIMIT)
        try:
            writer.write(encode_line({"do": "report"}))
            return decode_report(decode_line(await reader.readline()).get("report"))
        finally:
            writer.transport.abort()


async def _agents(subject: Subject, file: OperatorFile) -> list[Finding]:
    """Return a finding for each agent whose login lives inside, and for one whose model is beyond the ceiling."""
    view, findings = await subject.view(), []
    try:
        ceiling = ceiling_of(subject.config.network_ceiling, file)
    except HiveError:
        ceiling = None
    for agent, entry in sorted(view.desired.agents.items()) if view is not None else ():
        try:
            settings = await read_settings(await subject.applied(agent).read(entry.pin.sha, SETTINGS_FILE))
        except HiveError:  # other checks report that
            continue
        if settings.runtime not in MODEL_ROUTES or model_route(settings.runtime, file.kinds(agent)):
            continue
        findings.append(_inside(agent, settings))
        needed = RUNTIME_HOSTS[settings.runtime].api if settings.network.defaults else ()
        if above := beyond(needed, ceiling):
            text = f"{agent} cannot reach its model: {above[0].text} is beyond HIVE_NETWORK_CEILING"
            findings.append(Finding(Verdict.FAIL, text, "add it to the ceiling, or keep the key outside"))
    return findings


def _inside(agent: AgentName, settings: AgentSettings) -> Finding:
    """Return what is said of a login that its container has, and why."""
    kinds = " or ".join(MODEL_ROUTES[settings.runtime])
    text = (
        f"the login of {agent} lives in its container (runtime {settings.runtime}): OAuth files cannot be kept outside"
    )
    return Finding(Verdict.OK, f"{text}, a key of kind {kinds} in network.toml can")

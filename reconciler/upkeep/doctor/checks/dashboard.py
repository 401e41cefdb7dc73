"""The check of the dashboard: its settings, its port, its certificate, and who could pose as its proxy."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from meta.binding import Binding, binding_of
from meta.errors import BadInput, HiveError
from reconciler.common.certificate import DAY, RENEWED_BEFORE, context_of, expiry
from reconciler.upkeep.doctor.checks.base import Finding, Subject, Verdict, ok

SECONDS = 2.0
"""Seconds to wait for a connection."""
ABOUT = ("the dashboard ", "the dashboard's ")
"""Beginnings of the notes of `hive status` that this check reports."""
_SEE = "see docs/howto/dashboard-remote.md"


async def dashboard(subject: Subject) -> list[Finding]:
    """Check that the dashboard is served as the settings ask, and that its certificate lasts."""
    try:
        binding = binding_of(subject.config)
    except BadInput as error:
        return [Finding(Verdict.FAIL, error.summary, error.hint)]
    daemon = subject.daemon
    origin = binding.origin if binding is not None else daemon.dashboard if daemon is not None else ""
    findings = list(_notes(subject))
    if not origin:
        findings += _untouchable(subject)
        return findings or ok("there is none: HIVE_DASHBOARD_PORT is 0")
    if binding is not None:
        findings += [*_certificate(binding, subject.host.now()), *_proxies(subject, binding)]
    if daemon is None or findings:
        return findings or ok(f"no daemon runs that would serve it at {origin}")
    if daemon.dashboard != origin:
        text = f"the daemon serves {daemon.dashboard or 'no dashboard'}, and the settings here say {origin}"
        return [Finding(Verdict.WARN, text, "restart the daemon, or run this with its settings")]
    return [*await _reach(binding, origin), *_shared(origin)]


def _notes(subject: Subject) -> Iterator[Finding]:
    """Yield what the daemon reports itself."""
    for note in subject.daemon.notes if subject.daemon is not None else ():
        if note.startswith(ABOUT):
            yield Finding(Verdict.FAIL, note, _SEE)


def _untouchable(subject: Subject) -> Iterator[Finding]:
    if subject.config.dashboard_approve_by_passkey:
        text = "approvals need the touch of a passkey, and there is no dashboard to touch one on: only root approves"
        yield Finding(Verdict.WARN, text, "set HIVE_DASHBOARD_PORT, or unset HIVE_DASHBOARD_APPROVE_BY_PASSKEY")


def _certificate(binding: Binding, now: float) -> Iterator[Finding]:
    if binding.certificate is None or binding.key is None:
        return
    try:
        context_of(binding.certificate, binding.key)
        days = (expiry(binding.certificate) - now) / DAY
    except HiveError as error:
        if isinstance(error.__cause__, PermissionError):
            yield Finding(Verdict.WARN, error.summary, "run this as hive's user")
        else:
            yield Finding(Verdict.FAIL, error.summary, error.hint)
    else:
        if days < 0:
            yield Finding(Verdict.FAIL, f"the certificate {binding.certificate} ended {-days:.0f} days ago", "renew it")
        elif days < RENEWED_BEFORE:
            text = f"the certificate {binding.certificate} ends in {days:.0f} days, and was not renewed"
            yield Finding(Verdict.WARN, text, "renew it; the daemon takes the new file within seconds")


def _proxies(subject: Subject, binding: Binding) -> Iterator[Finding]:
    header = subject.config.dashboard_login_header
    near = sorted(each for each in binding.proxies if ipaddress.ip_address(each).is_loopback) if header else []
    if near:
        text = f"every program of this host may log in: it can send {header} from {near[0]}, as the proxy does"
        yield Finding(Verdict.WARN, text, f"give the proxy an address of its own; {_SEE}")


def _shared(origin: str) -> Iterator[Finding]:
    """Note that browsers send the cookie of `localhost` to every port of it."""
    parts = urlsplit(origin)
    if parts.hostname == "localhost":
        own = f"{parts.scheme}://hive.localhost" + (f":{parts.port}" if parts.port else "")
        text = f"a browser sends the login of {origin} to every other server of this host that it opens as localhost"
        yield Finding(Verdict.OK, text, f"HIVE_DASHBOARD_ORIGIN={own} keeps them apart; {_SEE}")


async def _reach(binding: Binding | None, origin: str) -> list[Finding]:
    """Connect to the port that the settings name, or to that of a localhost origin."""
    parts = urlsplit(origin)
    if binding is None and parts.scheme != "http":
        return ok(f"the daemon serves {origin}")
    host, port = (binding.addresses[0], binding.port) if binding is not None else ("localhost", parts.port or 80)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - an address to compare with
    try:
        async with asyncio.timeout(SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as error:
        why = getattr(error, "strerror", None) or f"no answer within {SECONDS:g} s"
        return [Finding(Verdict.FAIL, f"nothing answers at {host}, port {port}: {why}", "see the daemon's log")]
    writer.transport.abort()
    return ok(f"it answers; open {origin}, or run `hive dashboard`")

"""The login of the runtime that agent.toml names, put together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.login.driver import LoginDriver, Place
from harness.login.presence import Credentials as OwnCredentials
from harness.login.presence import Presence, Standing
from harness.login.process import Start
from harness.login.remote import RemoteCredentials, StartWatch
from harness.login.table import TABLE
from harness.login.watch import Credentials, Watch
from meta.agent_toml.settings import AgentSettings


@dataclass(frozen=True, slots=True)
class Login:
    """The login of one CLI: what it has, who drives it, and who watches it."""

    credentials: Credentials
    driver: LoginDriver

    async def watch(self, changed: Callable[[str | None], None]) -> None:
        """Call `changed` with why there is no login, or None, at once and at each change, until cancelled."""

        def report(presence: Presence) -> None:
            changed(presence.reason if presence.standing is Standing.MISSING else None)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.credentials.feed())
            tasks.create_task(Watch(self.credentials, report).run())


def make_login(
    settings: AgentSettings, home: Path, env: Mapping[str, str], start: Start, watch: StartWatch | None = None
) -> Login:
    """Return the login of the runtime. `env` is that of its CLI, but for what agent.toml adds; `start` starts a CLI.

    `watch` starts a watcher under the CLI's uid; None if that is the harness's own.
    """
    row, whole = TABLE[settings.runtime], {**env, **settings.env, "HOME": str(home)}
    if row.variable:
        whole.setdefault(row.variable, str(home / row.folder))
    own = settings.runtime == "claude"  # the command of the others speaks a protocol, and is not the CLI that logs in
    place = Place(home, whole, tuple(settings.command or ()) if own else ())
    credentials: Credentials = OwnCredentials(row, home, whole)
    if watch is not None:
        credentials = RemoteCredentials(settings.runtime, home, whole, watch)
    return Login(credentials, LoginDriver(row, place, credentials, start))

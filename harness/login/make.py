"""The login of the runtime that agent.toml names, put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.login.driver import LoginDriver, Place, Start
from harness.login.presence import Credentials, Presence, Standing, Watch
from harness.login.table import TABLE
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

        await Watch(self.credentials, report).run()


def make_login(settings: AgentSettings, home: Path, env: Mapping[str, str], start: Start) -> Login:
    """Return the login of the runtime. `env` is that of its CLI, but for what agent.toml adds; `start` starts a CLI."""
    row, whole = TABLE[settings.runtime], {**env, **settings.env, "HOME": str(home)}
    if row.variable:
        whole.setdefault(row.variable, str(home / row.folder))
    own = settings.runtime == "claude"  # the command of the others speaks a protocol, and is not the CLI that logs in
    place = Place(home, whole, tuple(settings.command or ()) if own else ())
    credentials = Credentials(row, home, whole)
    return Login(credentials, LoginDriver(row, place, credentials, start))

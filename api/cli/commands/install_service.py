"""`hive install-service`: hive.service for a host without NixOS, for the system or for one user."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from api.cli.client.exit_codes import Failed
from api.cli.client.paths import SYSTEM_RUNTIME, SYSTEM_STATE
from api.cli.command import DAEMON, RuntimeOption, StateOption, YesOption, epilog
from api.cli.render import console
from api.cli.render.unit import MARK, Installation, text_of
from api.cli.terminal.confirm import confirm
from meta.errors import BadInput, Conflict, Refused
from meta.text import command_line

NAME = "hive.service"
DEADLINE = 200.0
"""Seconds for one systemctl. A start may take as long as the unit's TimeoutStartSec=."""


@dataclass(frozen=True, slots=True)
class Manager:
    """The service manager of the system, or of the caller."""

    user: bool

    @property
    def unit(self) -> Path:
        """The file of the unit."""
        if not self.user:
            return Path("/etc/systemd/system") / NAME
        config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        return Path(config) / "systemd" / "user" / NAME

    def words(self, *words: str) -> tuple[str, ...]:
        """Return the words of a systemctl command."""
        return ("systemctl", *(("--user",) if self.user else ()), *words)

    def shown(self, *words: str) -> str:
        """Return a command to type."""
        sudo = () if self.user or os.geteuid() == 0 else ("sudo",)
        return command_line(*sudo, *self.words(*words))

    def call(self, *words: str) -> int:
        """Run systemctl, and return its exit code. Raise Failed if systemd does not run."""
        import asyncio  # slow to import, as is the next module

        from meta.process.run import run

        keys = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "HOME")
        environment = {key: os.environ[key] for key in keys if key in os.environ}
        done = asyncio.run(run(self.words(*words), deadline=DEADLINE, env=environment, check=False))
        if done.stderr_tail:
            console.progress(done.stderr_tail.rstrip())
        return done.code

    def require(self, *words: str) -> None:
        """Run systemctl. Raise Failed if it fails."""
        if self.call(*words) != 0:
            raise Failed(f"`{command_line(*self.words(*words))}` failed", f"see `{self.shown('status', NAME)}`")


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = (
        "sudo hive install-service --now",
        "hive install-service --user --print",
        "sudo hive install-service --remove",
    )
    app.command("install-service", rich_help_panel=DAEMON, epilog=epilog(examples))(install_service)


def install_service(
    state: StateOption = None,
    runtime: RuntimeOption = None,
    user: Annotated[bool, typer.Option("--user", help="a service of yours, not of the system")] = False,
    now: Annotated[bool, typer.Option("--now", help="also enable and start it")] = False,
    show: Annotated[bool, typer.Option("--print", help="only print the unit")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="end the daemon and remove the unit; agents go on")] = False,
    yes: YesOption = False,
) -> None:
    """Write hive.service, so that systemd starts the daemon at boot, and again if it ends.

    As root it is a service of the system: the daemon is root with few capabilities, and each agent has its own uid.
    With --user it is yours, and ends when you log out, unless you enable lingering. Doing it again changes nothing.
    On NixOS use the module.
    """
    if remove and (now or show):
        raise BadInput("--remove goes with neither --now nor --print", "give only one of them")
    manager = Manager(user)
    if show:
        console.write(text_of(_installation(state, runtime, user=user)).rstrip("\n"))
        return
    if not user and os.geteuid() != 0:
        raise Refused("only root installs a service of the system", "`sudo hive install-service`, or give --user")
    if remove:
        _remove(manager, yes=yes)
    else:
        _install(manager, text_of(_installation(state, runtime, user=user)), now=now)


def _installation(state: str | None, runtime: str | None, *, user: bool) -> Installation:
    """Return the service of this installation. A system's service has the places that the CLI looks in by itself."""
    program = Path(sys.prefix) / "bin" / "hive"
    words = (str(program),) if program.exists() else (sys.executable, "-P", "-m", "api.cli.main")
    source = tuple(Path(each).resolve() for each in (sys.prefix, sys.base_prefix, sys.executable))
    return Installation(
        words,
        (*source, Path(__file__).resolve().parents[3]),
        Path(state).absolute() if state else None if user else SYSTEM_STATE,
        Path(runtime).absolute() if runtime else None if user else SYSTEM_RUNTIME,
        user,
    )


def _install(manager: Manager, text: str, *, now: bool) -> None:
    written = _read_own(manager)
    if written == text:
        console.write(f"{manager.unit} is as it should be")
    else:
        manager.unit.parent.mkdir(parents=True, exist_ok=True)
        fresh = manager.unit.with_name(f".{NAME}.new")
        fresh.write_text(text, encoding="utf-8")
        fresh.chmod(0o644)
        fresh.replace(manager.unit)
        console.write(f"{'wrote' if written is None else 'changed'} {manager.unit}")
        manager.require("daemon-reload")
    running = manager.call("is-active", "--quiet", NAME) == 0
    if now:
        manager.require("enable", "--now", NAME)
        console.write(f"{NAME} is enabled, and the daemon is up")
    if running and written not in (None, text):
        console.write(f"type next: {manager.shown('restart', NAME)}   # takes the change; agents go on")
    elif not now:
        console.write(f"type next: {manager.shown('enable', '--now', NAME)}")
    _show_user(manager)


def _show_user(manager: Manager) -> None:
    if not manager.user:
        return
    name = os.environ.get("USER") or str(os.geteuid())
    console.write(
        f"it ends when you log out, with its agents; {command_line('loginctl', 'enable-linger', name)} keeps it"
    )
    console.write(
        'hive finds it with: export HIVE_STATE=~/.local/state/hyperhive HIVE_RUNTIME="$XDG_RUNTIME_DIR"/hyperhive'
    )


def _remove(manager: Manager, *, yes: bool) -> None:
    if _read_own(manager) is None:
        console.write(f"there is no {manager.unit}")
        return
    confirm(f"the daemon of {NAME} ends, and {manager.unit} is removed; agents and files stay", yes=yes)
    manager.require("disable", "--now", NAME)
    manager.unit.unlink(missing_ok=True)
    manager.require("daemon-reload")
    console.write(f"removed {manager.unit}; agents that ran go on: `hive down` ends them, `hive serve` adopts them")


def _read_own(manager: Manager) -> str | None:
    """Return the unit that is there, None for none. Raise Conflict if hive did not write it."""
    try:
        text = manager.unit.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    if manager.unit.is_symlink() or text.partition("\n")[0] != MARK:
        raise Conflict(f"{manager.unit} was not written by hive", "move it away first, if you do not need it")
    return text

"""A host in a temporary directory: the helper's roots, and stand-ins that record how they were called."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path

from meta.names import AgentName
from reconciler.privileged.command import run
from reconciler.privileged.host import Deadlines, Host, Programs
from reconciler.privileged.units import Units
from reconciler.privileged.values import Bounds
from reconciler.privileged.verbs import Verbs

ALICE = AgentName("alice")
UID = 524_288
HASH = "0123456789abcdfghijklmnpqrsvwxyz"
DEADLINES = Deadlines(create=10, switch=10, start=10, control=10, kill=10, destroy=10, logs=10, heal=0.01, retries=2)

_HEAD = """#!/bin/sh
cd_was=$PWD
cd {root}
echo "{program} $*" >> calls
echo "$cd_was" >> folders
"""
_SCRIPTS = {
    "nixos-container": """
case $1 in
create) [ -e etc/$2.conf ] && exit 9
  printf 'PRIVATE_NETWORK=1\\nHOST_ADDRESS=10.233.1.1\\n' > etc/$2.conf
  [ -e create-fails ] && { echo 'disk full' >&2; exit 3; }
  mkdir -p profiles/$2; ln -sfn $4 profiles/$2/system;;
destroy) [ -e destroy-fails ] && { echo 'busy' >&2; exit 4; }; rm -rf profiles/$2 etc/$2.conf;;
esac
""",
    "nix-env": '[ -e set-fails ] && { echo "no space" >&2; exit 1; }; ln -sfn "$4" "$2"',
    "systemctl": """
case "$1" in
show) [ -e reload-needed ] && echo yes || echo no;;
start) [ -e start-fails ] && { echo 'Job failed' >&2; exit 1; }
  [ -e stale ] && { echo 'Job failed' >&2; exit 1; }; exit 0;;
stop) [ "$2" = --no-block ] && exit 0; [ -e hangs ] && exec sleep 30; exit 0;;
kill) rm -f hangs;;
esac
""",
    "machinectl": """
case $1 in
show) [ -e stale ] || exit 1;;
terminate) [ -e immortal ] || rm -f stale;;
esac
""",
    "journalctl": "[ -e journal ] && cat journal; exit 0",
}


class Stage:
    """`host` with everything below `root`; `verbs` on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("etc", "store", "profiles", "state", "runtime", "units", "records", "bin"):
            (root / name).mkdir()
        for program, script in _SCRIPTS.items():
            path = root / "bin" / program
            path.write_text(_HEAD.format(root=shlex.quote(str(root)), program=program) + script)
            path.chmod(0o755)
        programs = Programs(**{key: str(root / "bin" / key.replace("_", "-")) for key in Programs.__dataclass_fields__})
        self.host = Host(
            owner="h1",
            uid=os.getuid(),
            gid=os.getgid(),
            etc=root / "etc",
            profiles=root / "profiles",
            state=root / "state",
            runtime=root / "runtime",
            units=root / "units",
            records=root / "records",
            credentials=root / "credentials.json",
            bounds=Bounds(store=str(root / "store")),
            programs=programs,
            deadlines=DEADLINES,
            roots=root / "roots",
        )
        self.system = self.build("one")
        self.verbs = self.make_verbs()

    def make_verbs(self, deadlines: Deadlines = DEADLINES) -> Verbs:
        """Verbs that do not wait between polls."""
        host = replace(self.host, deadlines=deadlines)
        return Verbs(host, units=Units(host, run, wait=lambda seconds: None))

    def build(self, name: str) -> str:
        """A system in the store."""
        path = self.root / "store" / f"{HASH}-{name}"
        path.mkdir()
        (path / "init").touch()
        return str(path)

    def calls(self, *programs: str) -> list[str]:
        """How the stand-ins were called, in order; only these programs if any are given."""
        path = self.root / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if not programs or line.split()[0] in programs]

    def forget(self) -> None:
        """Start the record of calls again."""
        (self.root / "calls").unlink(missing_ok=True)

    def flag(self, name: str, text: str = "") -> None:
        """Tell the stand-ins how to behave."""
        (self.root / name).write_text(text)

    def conf(self, name: str = "alice") -> Path:
        """The conf file."""
        return self.root / "etc" / f"{name}.conf"

    def limits(self, name: str = "alice") -> Path:
        """The drop-in."""
        return self.root / "units" / f"container@{name}.service.d" / "50-hive.conf"

    def directories(self, *parts: str) -> None:
        """The directories that a container binds."""
        own = (*(f"state/agents/alice/{name}" for name in ("state", "home", "pods")), "runtime/agents/alice")
        own = (*own, "runtime/egress/alice")
        for part in parts or own:
            (self.root / part).mkdir(parents=True, exist_ok=True)

    def snapshot(self) -> dict[str, str]:
        """Every path with its content, to see that nothing changed."""
        return {
            str(path): str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else ""
            for path in sorted(self.root.rglob("*"))
        }

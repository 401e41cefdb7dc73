"""Run a program in the namespaces of a process, as `hive shell` does: as root, or as uid 30000 ("user")."""

from __future__ import annotations

import os
import sys

from api.cli.commands.shell import container_command
from api.cli.terminal.namespaces import Namespaces
from api.cli.terminal.terminal import run_on_own_terminal
from tests.support.ambient_session import key

PROGRAM = [
    "sh",
    "-c",
    "id -u; hostname; grep -wE 'CapEff|Seccomp' /proc/self/status; cat /proc/keys 2>/dev/null; umask; exit 5",
]

if __name__ == "__main__":
    namespaces = Namespaces(int(sys.argv[1]))
    if sys.argv[2] == "user":
        os.setgroups([])
        os.setresgid(30000, 30000, 30000)
        os.setresuid(30000, 30000, 30000)
    key(b"hive-test-operators-key")  # and an umask: the program inside must see neither
    os.umask(0o077)
    command = container_command(["--setenv", "HOME", "/"], PROGRAM, {}, own_uid=True, terminal=False)
    sys.exit(run_on_own_terminal(command, {"PATH": os.environ["PATH"]}, (), namespaces.enter))

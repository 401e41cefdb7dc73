"""Run a program in the namespaces of a process, as `hive shell` does: as root, or as uid 30000 ("user")."""

from __future__ import annotations

import os
import sys

from api.cli.commands.shell import container_command
from api.cli.terminal.namespaces import Namespaces
from api.cli.terminal.terminal import run_on_own_terminal

PROGRAM = ["sh", "-c", "id -u; hostname; grep CapEff /proc/self/status; exit 5"]

if __name__ == "__main__":
    namespaces = Namespaces(int(sys.argv[1]))
    if sys.argv[2] == "user":
        os.setgroups([])
        os.setresgid(30000, 30000, 30000)
        os.setresuid(30000, 30000, 30000)
    command = container_command(["--setenv", "HOME", "/"], PROGRAM, own_uid=True, terminal=False)
    sys.exit(run_on_own_terminal(command, {"PATH": os.environ["PATH"]}, (), namespaces.enter))

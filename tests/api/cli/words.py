"""A command line for every command: its name, and a value for each argument that it cannot do without."""

from __future__ import annotations

from api.cli.commands.man import Leaf

VALUES = {
    "AGENT": "alice",
    "AGENT[/POD]": "alice",
    "NAME": "alice",
    "TO": "alice",
    "ID": "1",
    "WHAT": "alice",
    "FILE": "/nonexistent/x.tar",
    "TEXT": "text",
    "ANSWER...": "text",
    "KIND": "reminder",
    "REQUEST": "whoami",
    "RULE": "crates.io",
}
OF = {
    "audit": ("verify",),
    "adopt": ("alice", "--meta"),
    "remind": ("alice", "text", "--in", "1h"),
    "rebuild": ("alice",),
    "start": ("alice",),
    "stop": ("alice",),
    "restart": ("alice",),
    "cp": ("alice:state/x", "/tmp"),
    "network deny": ("alice", "3"),
    "dashboard revoke": ("3",),
}
"""Commands whose words do not follow from their arguments."""
MORE = {
    "deny": ("1",),
    "edit": ("--file", "/dev/null"),
}


def words_of(leaf: Leaf) -> list[str]:
    """Return the command line."""
    if leaf.name in OF:
        return [*leaf.name.split(), *OF[leaf.name]]
    arguments = [param for param in leaf.command.params if param.param_type_name == "argument" and param.required]
    return [*leaf.name.split(), *(VALUES[str(param.metavar)] for param in arguments), *MORE.get(leaf.name, ())]

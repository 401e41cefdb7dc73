"""`hive-harness serve`: the program in every container. `cli` is its part under the CLI's uid, `owners` that of root.
`check` is for agents.

`serve` of an agent that may have sub-agents is two processes: a keeper, and the harness as its child (harness.keeper).

Exit codes: 0 after SIGTERM, 2 for wrong usage, 78 for wrong settings (EX_CONFIG). A fault in `[start]` may set another
one.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
from types import FrameType

from harness.keeper.wanted import VARIABLE, wanted
from harness.starter.wire import Json, Order

CONFIG_EXIT = 78

_ENVIRONMENT = """environment (set by hive):
  HIVE_AGENT HIVE_ROLE HIVE_GENERATION HIVE_BOOT_NONCE   the agent, its role and what hive launched
  HIVE_CONFIG (/config)     directory with agent.toml
  HIVE_RUN (/run/hive)      directory with mcp.sock, harness.sock and http.sock
  HIVE_PODS (/run/pods)     directory of the sockets of its pods; without it there are none
  HIVE_EGRESS (/run/egress) directory with egress.sock, the way out of the container
  HIVE_EGRESS_PORT          port of the way out on loopback; 0: any
  HIVE_PORT                 port of hive's tools on loopback, for the CLI
  HIVE_STATE (/state)       what the agent keeps across restarts
  HIVE_AGENTS (/agents)     proposed work trees, for the manager
  HIVE_SOFT_SCOPES          true: a CLI starts although the kernel cannot hold its scope
if CLIs have another uid than the harness:
  HIVE_CLI_STARTER          the starter's socket
  HIVE_CLI_FILES            directory of the files that the harness writes for a CLI
  HIVE_OWN                  directory in HIVE_STATE of what the harness keeps for itself
"""


def main() -> int:
    """Run `hive-harness`; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="hive-harness",
        description="Run an agent inside its container: take messages from hive, do turns, report health.",
        epilog=_ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="serve until SIGTERM; with `[pods] max` under a keeper, which ends with it")
    commands.add_parser("pod", help="serve a sub-agent; the harness of an agent starts this")
    commands.add_parser("cli", help="start one CLI for the harness; systemd runs this, under the CLI's uid")
    owners = commands.add_parser("owners", help="set the owners in the agent's state; root runs this before `serve`")
    owners.add_argument("words", nargs=4, metavar=("STATE", "HARNESS", "CLI", "GROUP"))
    check = commands.add_parser("check", help="say if hive takes an agent.toml, before it is proposed")
    check.add_argument("paths", nargs="+", metavar="PATH", help="the file, or the folder that it is in")
    connect = commands.add_parser("connect", help="carry ssh through the way out; hive sets it as git's ProxyCommand")
    connect.add_argument("words", nargs=3, metavar=("PROXY", "HOST", "PORT"))
    workspace = commands.add_parser("workspace", help="print what is in the agent's repos, for `hive workspace`")
    workspace.add_argument("--diff", action="store_true", help="the uncommitted changes too")
    workspace.add_argument("paths", nargs="*", metavar="PATH", help="below the folder of work")
    return _run(parser.parse_args())


def _run(arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "cli":
            from harness.starter.program import main as start_cli

            return start_cli({"login": _watch_login, "targets": _look_at_targets}, _plan)
        case "owners":
            from harness.owners import main as set_owners

            return set_owners(arguments.words)
        case "check":
            from harness.prompts.check import main as check_settings

            return check_settings(arguments.paths)
        case "connect":
            from harness.relay.tunnel import main as connect_through

            return connect_through(arguments.words)
        case "workspace":
            from harness.workspace.show import main as show_workspaces

            return show_workspaces(arguments.paths, diff=arguments.diff)
        case "pod":
            return _serve(sub=True)
        case _:
            return _serve()


def _watch_login(order: Order, streams: list[int], connection: int) -> None:
    from harness.login.look import watch

    watch(order.argv[0], order.cwd, order.env, streams, connection)


def _look_at_targets(order: Order, streams: list[int], _connection: int) -> None:
    from harness.subagents.targets import write_targets

    write_targets(order.argv, order.cwd, streams[1])


def _plan(bounds: Json) -> Json:
    from harness.scope.bounds import decode_bounds, grants_of
    from meta.errors import HiveError

    try:
        grants = grants_of(decode_bounds(bounds))
    except HiveError as error:
        return {"refused": error.summary, "hint": error.hint}
    return {"grants": None if grants is None else [list(grant) for grant in grants]}


def _serve(*, sub: bool = False) -> int:
    signal.signal(signal.SIGTERM, _exit)
    if VARIABLE in os.environ:
        from harness.keeper.client import join_keeper

        join_keeper(main=not sub)
    elif sub:
        pass
    elif wanted(os.environ):
        from harness.keeper.program import main as keep
        from harness.keeper.program import own_words

        return keep(own_words(), os.environ)
    # hive waits for the hello: do not search for plugins of pydantic, do not collect garbage during the imports
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    gc.disable()
    import asyncio
    import logging
    import time

    from harness.environment import read_environment
    from harness.serve import read_settings, serve
    from meta.errors import HiveError

    logging.Formatter.converter = time.gmtime  # who reads it elsewhere does not know the container's zone
    logging.basicConfig(
        stream=sys.stdout, level=logging.INFO, format="%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", datefmt="%T"
    )
    gc.freeze()
    gc.enable()
    try:
        environment = read_environment(os.environ)
        if sub:
            from harness.subagent import serve_subagent as serve
        return asyncio.run(serve(environment, read_settings(environment)))
    except HiveError as error:
        logging.getLogger(__name__).error("%s; %s", error.summary, error.hint)
        return CONFIG_EXIT


def _exit(_number: int, _frame: FrameType | None) -> None:
    """Exit on a SIGTERM that comes before the event loop handles it."""
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())

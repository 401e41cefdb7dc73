"""The options of `hive-egress`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """`sockets`: the folder with one directory per agent; `control`: the daemon's socket; `state`: its own folder."""

    sockets: Path
    control: Path
    state: Path
    network: Path
    ceiling: str = ""
    revision: str = ""
    daemon_uid: int | None = None


def parse_options(words: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Return the options of the command line. Wrong ones end the process with 2."""
    parser = argparse.ArgumentParser(
        prog="hive-egress", description="the agents' way out: an HTTP proxy on one socket per agent", allow_abbrev=False
    )
    parser.add_argument("--sockets", type=Path, required=True, help="the folder with a directory for each agent")
    parser.add_argument("--control", type=Path, required=True, help="the socket on which the daemon pushes the policy")
    parser.add_argument("--state", type=Path, required=True, help="where the policy and the counters are kept")
    parser.add_argument("--network", type=Path, required=True, help="the operator's network.toml")
    parser.add_argument(
        "--ceiling",
        default=environment.get("HIVE_NETWORK_CEILING", ""),
        help="hosts and groups beyond which no agent may reach (default: HIVE_NETWORK_CEILING)",
    )
    parser.add_argument("--revision", default="", help="hive's own revision, for the report")
    parser.add_argument("--daemon-uid", type=int, help="who may use the control socket, besides root and this user")
    given = parser.parse_args(words)
    return Options(
        given.sockets, given.control, given.state, given.network, given.ceiling, given.revision, given.daemon_uid
    )

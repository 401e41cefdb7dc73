"""Start and stop agents: start, stop, kill, restart, destroy."""

from typing import Annotated

import typer

from api.cli.client.follow import Waits, follow
from api.cli.client.http import Client, Row
from api.cli.command import (
    RUN,
    WAIT_SECONDS,
    AgentArgument,
    JsonOption,
    NowOption,
    TimeoutOption,
    WaitOption,
    YesOption,
    command,
)
from api.cli.render import console
from api.cli.terminal.confirm import confirm
from reconciler.plan.phases import UP


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    command(app, "start", RUN, examples=("hive start alice --wait",))(start)
    command(app, "stop", RUN, examples=("hive stop alice", "hive stop alice --now"))(stop)
    command(app, "kill", RUN, examples=("hive kill alice",))(kill)
    command(app, "restart", RUN, examples=("hive restart alice --wait",))(restart)
    command(app, "destroy", RUN, examples=("hive destroy bob", "hive destroy bob --purge --yes"))(destroy)


def start(
    client: Client,
    agent: AgentArgument,
    wait: WaitOption = False,
    timeout: TimeoutOption = WAIT_SECONDS,
    json: JsonOption = False,
) -> None:
    """Start a stopped agent, or one that hive gave up after too many crashes."""
    _run(client, agent, "start", {}, Waits(wait, timeout), json, UP, ("will start", "is up"))


def stop(
    client: Client,
    agent: AgentArgument,
    now: NowOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = WAIT_SECONDS,
    json: JsonOption = False,
) -> None:
    """Stop an agent after its current turn. It stays stopped until `hive start`."""
    _run(client, agent, "stop", {"now": now}, Waits(wait, timeout), json, None, ("will stop", "is stopped"))


def kill(
    client: Client,
    agent: AgentArgument,
    now: NowOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = WAIT_SECONDS,
    json: JsonOption = False,
) -> None:
    """Stop an agent: the same as `hive stop`."""
    stop(client, agent, now, wait, timeout, json)


def restart(
    client: Client,
    agent: AgentArgument,
    now: NowOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = WAIT_SECONDS,
    json: JsonOption = False,
) -> None:
    """Stop an agent after its current turn, and start the same generation again."""
    _run(client, agent, "restart", {"now": now}, Waits(wait, timeout), json, UP, ("will restart", "is up again"))


def destroy(
    client: Client,
    agent: AgentArgument,
    purge: Annotated[bool, typer.Option("--purge", help="also remove its repos, tags, state and login")] = False,
    yes: YesOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = WAIT_SECONDS,
    json: JsonOption = False,
) -> None:
    """Remove an agent. Its repos, tags and state are kept; a later `hive spawn` with the same name uses them.

    It asks first. The manager cannot be destroyed.
    """
    rest = "its repos, tags, state and login are removed for ever" if purge else "its repos and state are kept"
    confirm(f"{agent} will be destroyed, and {rest}", yes=yes)
    words = ("will be purged", "is purged") if purge else ("will be destroyed", "is destroyed")
    _run(client, agent, "destroy", {"purge": purge}, Waits(wait, timeout), json, None, words)


def _run(
    client: Client,
    agent: str,
    verb: str,
    body: Row,
    waits: Waits,
    json: bool,
    up: frozenset[str] | None,
    words: tuple[str, str],
) -> None:
    with follow(client, agent, waits) as follower:
        answer = client.post(f"/api/agents/{agent}/{verb}", body)
        if follower is not None:
            follower.until_settled(up)
    if json:
        console.write_json(answer)
    else:
        console.write(f"{agent} {words[waits.on]}")

"""Start and stop agents: start, stop, kill, restart, destroy."""

from typing import Annotated

import typer

from api.cli.client import completion
from api.cli.client.exit_codes import Code
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
from meta.errors import BadInput
from meta.text import command_line
from reconciler.plan.phases import UP

OneAgentArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="AGENT", help="the agent's name, unless --all", autocompletion=completion.agents, show_default=False
    ),
]
AllOption = Annotated[bool, typer.Option("--all", help="all agents")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    command(app, "start", RUN, examples=("hive start alice --wait", "hive start --all --wait"))(start)
    command(app, "stop", RUN, examples=("hive stop alice", "hive stop alice --now", "hive stop --all --wait"))(stop)
    command(app, "kill", RUN, examples=("hive kill alice",))(kill)
    command(app, "restart", RUN, examples=("hive restart alice --wait",))(restart)
    command(app, "destroy", RUN, examples=("hive destroy bob", "hive destroy bob --purge --yes"))(destroy)


def start(
    client: Client,
    agent: OneAgentArgument = None,
    all_agents: AllOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = WAIT_SECONDS,
    json: JsonOption = False,
) -> None:
    """Start a stopped agent, or one that hive gave up after too many crashes.

    With --all start the agents that `hive stop --all` stopped, and try those again that hive gave up. What was stopped
    by name stays stopped. Exit 1 if an agent could not be started.
    """
    if _is_all(agent, all_agents, "start"):
        _run_all(client, "start", {}, Waits(wait, timeout), json)
    else:
        _run(client, str(agent), "start", {}, Waits(wait, timeout), json, UP, ("will start", "is up"))


def stop(
    client: Client,
    agent: OneAgentArgument = None,
    all_agents: AllOption = False,
    now: NowOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = WAIT_SECONDS,
    json: JsonOption = False,
) -> None:
    """Stop an agent after its current turn. It stays stopped until `hive start`.

    With --all stop every agent, the manager too; `hive start --all` starts them again. Exit 1 if an agent could not be
    stopped. The daemon goes on; `hive down` ends it as well.
    """
    if _is_all(agent, all_agents, "stop"):
        _run_all(client, "stop", {"now": now}, Waits(wait, timeout), json)
    else:
        _run(client, str(agent), "stop", {"now": now}, Waits(wait, timeout), json, None, ("will stop", "is stopped"))


def kill(
    client: Client,
    agent: AgentArgument,
    now: NowOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = WAIT_SECONDS,
    json: JsonOption = False,
) -> None:
    """Stop an agent: the same as `hive stop`."""
    stop(client, agent, False, now, wait, timeout, json)


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


def _is_all(agent: str | None, all_agents: bool, verb: str) -> bool:
    """Return True for --all, False for an agent. Raise BadInput for both, and for neither."""
    if (agent is None) is not all_agents:
        raise BadInput(
            "name an agent, or give --all",
            f"`{command_line('hive', verb, 'alice')}`, `{command_line('hive', verb, '--all')}`",
        )
    return all_agents


def _run_all(client: Client, verb: str, body: Row, waits: Waits, json: bool) -> None:
    """Stop or start all agents, and show what became of each."""
    with follow(client, None, waits) as follower:
        rows = client.post_rows(f"/api/{verb}-all", body)
        accepted = [row["agent"] for row in rows if row["accepted"]]
        settled = follower.until_all_settled(accepted) if follower is not None else {}
    words = {"stop": ("will stop", "is stopped"), "start": ("will start", "is up")}[verb][waits.on]
    for row in rows:
        plan = settled.get(row["agent"])
        if verb == "start" and plan is not None and plan["phase"] not in UP:
            row |= {
                "error": f"it ended as {plan['phase']}: {plan['reason']}",
                "remedy": f"see `{command_line('hive', 'logs', row['agent'])}`",
            }
    if json:
        console.write_json(rows)
    else:
        for row in rows:
            _write_outcome(row, words)
        if not rows:
            console.write("there are no agents")
    if any(row["error"] for row in rows):
        raise typer.Exit(Code.FAILED)


def _write_outcome(row: Row, words: str) -> None:
    if row["error"]:
        console.progress(
            f"{row['agent']} failed: {row['error']}" + (f"\n  try: {row['remedy']}" if row["remedy"] else "")
        )
    else:
        console.write(f"{row['agent']} {words}" if row["accepted"] else f"{row['agent']}: {row['reason']}")


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

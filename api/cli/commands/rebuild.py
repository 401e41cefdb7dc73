"""`hive rebuild`: one agent, or all of them wave by wave."""

from typing import Annotated

import typer

from api.cli.client.exit_codes import Failed
from api.cli.client.follow import Follower, Waits, follow
from api.cli.client.http import Client, Row
from api.cli.command import (
    RUN,
    WAIT_SECONDS,
    JsonOption,
    MaybeAgentArgument,
    NowOption,
    TimeoutOption,
    WaitOption,
    command,
)
from api.cli.render import console
from meta.errors import BadInput
from reconciler.plan.phases import SETTLED

AllOption = Annotated[bool, typer.Option("--all", help="all agents, in waves (HIVE_REBUILD_WAVE agents at a time)")]
StaleOption = Annotated[
    bool, typer.Option("--stale", help="with --all: only agents that another hive, nixpkgs or agentModules built")
]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = ("hive rebuild alice --wait", "hive rebuild --all --stale --wait")
    command(app, "rebuild", RUN, examples=examples)(rebuild)


def rebuild(
    client: Client,
    agent: MaybeAgentArgument = None,
    all_agents: AllOption = False,
    stale: StaleOption = False,
    now: NowOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = WAIT_SECONDS,
    json: JsonOption = False,
) -> None:
    """Make everything that hive makes for an agent again: build, settings, sockets, work tree, limits.

    With --all the next wave of agents starts when the last one is up again. The first failure ends it: the agents that
    have not started stay as they are, and `hive status` lists them.
    """
    if (agent is None) is not all_agents:
        raise BadInput("name an agent, or give --all", "`hive rebuild alice`, `hive rebuild --all`")
    if stale and not all_agents:
        raise BadInput("--stale needs --all", "`hive rebuild --all --stale`")
    with follow(client, agent, Waits(wait, timeout)) as follower:
        if agent is None:
            _all(client, follower, {"now": now, "only_stale": stale}, json)
            return
        answer = client.post(f"/api/agents/{agent}/rebuild", {"now": now})
        if follower is not None:
            follower.until_settled(SETTLED)
    if json:
        console.write_json(answer)
    else:
        console.write(f"{agent} {'is' if wait else 'will be'} rebuilt")


def _all(client: Client, follower: Follower | None, body: Row, json: bool) -> None:
    begun = client.post("/api/rebuild-all", body)
    if follower is not None:
        _wait_for_end(client, follower, str(begun["id"]))
    if json:
        console.write_json(begun)
        return
    names, left_out = begun["waiting"], begun["left_out"]
    count = f"{len(names)} agent{'' if len(names) == 1 else 's'}"
    console.write(f"{count} {'rebuilt' if follower is not None else 'will be rebuilt, see `hive status`'}")
    if left_out:
        console.write(f"left out because they wait for a person: {', '.join(left_out)}")


def _wait_for_end(client: Client, follower: Follower, id: str) -> None:
    """Wait until the rollout `id` has ended. Raise Failed if an agent failed."""

    def ended() -> bool:
        rollout = client.row("/api/status")["rollout"]
        if rollout is None or rollout["id"] != id:
            return True
        if rollout["failed"] is not None:
            left = f"left as they were: {', '.join(rollout['waiting'])}" if rollout["waiting"] else "it was the last"
            raise Failed(
                f"{rollout['failed']} failed: {rollout['reason']}; {left}", "see `hive status`, then try again"
            )
        return False

    follower.until(ended)

"""`hive rebuild`: one agent, or all of them wave by wave."""

from typing import Annotated

import typer

from api.cli.client.exit_codes import Failed
from api.cli.client.follow import UP, Follower, Waits, follow
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
from api.cli.render import output
from meta.errors import BadInput

AllOption = Annotated[bool, typer.Option("--all", help="every agent, some at a time (HIVE_REBUILD_WAVE)")]
StaleOption = Annotated[bool, typer.Option("--stale", help="with --all: only what another hive built")]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = ("hive rebuild alice --wait", "hive rebuild --all --stale --wait")
    command(app, "rebuild", RUN, examples=examples)(rebuild)


def rebuild(
    client: Client,
    agent: MaybeAgentArgument = None,
    everybody: AllOption = False,
    stale: StaleOption = False,
    now: NowOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = WAIT_SECONDS,
    json: JsonOption = False,
) -> None:
    """Make everything that hive makes for an agent again: build, settings, sockets, work tree, limits.

    With --all a wave of agents is begun when the last one is up again. The first agent that fails ends it: those not
    yet begun are left as they are, and `hive status` names them.
    """
    if (agent is None) is not everybody:
        raise BadInput("say which agent, or --all", "`hive rebuild alice`, `hive rebuild --all`")
    if stale and not everybody:
        raise BadInput("--stale goes with --all", "`hive rebuild --all --stale`")
    with follow(client, agent, Waits(wait, timeout)) as follower:
        if agent is None:
            _all(client, follower, {"now": now, "only_stale": stale}, json)
            return
        answer = client.post(f"/api/agents/{agent}/rebuild", {"now": now})
        if follower is not None:
            follower.rest(UP | {"stopped"})
    if json:
        output.say_json(answer)
    else:
        output.say(f"{agent} {'is' if wait else 'will be'} rebuilt")


def _all(client: Client, follower: Follower | None, body: Row, json: bool) -> None:
    begun = client.post("/api/rebuild-all", body)
    if follower is not None:
        _to_the_end(client, follower, str(begun["id"]))
    if json:
        output.say_json(begun)
        return
    names, left_out = begun["waiting"], begun["left_out"]
    count = f"{len(names)} agent{'' if len(names) == 1 else 's'}"
    output.say(f"{count} {'rebuilt' if follower is not None else 'will be rebuilt, see `hive status`'}")
    if left_out:
        output.say(f"left out, since they wait for a person: {', '.join(left_out)}")


def _to_the_end(client: Client, follower: Follower, id: str) -> None:
    """Until the rollout `id` is over; Failed when it was ended by an agent."""

    def ended() -> bool:
        found = client.row("/api/status")["rollout"]
        if found is None or found["id"] != id:
            return True
        if found["failed"] is not None:
            left = f"left as they were: {', '.join(found['waiting'])}" if found["waiting"] else "it was the last"
            raise Failed(f"{found['failed']} failed: {found['reason']}; {left}", "see `hive status`, then try again")
        return False

    follower.until(ended)

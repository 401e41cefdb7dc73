"""Deploys of something other than a new commit: spawn, request-spawn, rollback, adopt."""

from typing import Annotated

import typer

from api.cli.client import completion
from api.cli.client.follow import Waits, deployed, follow
from api.cli.client.http import Client, Row
from api.cli.command import (
    DECIDE,
    WAIT_SECONDS,
    AgentArgument,
    JsonOption,
    MessageOption,
    SpawnRuntimeOption,
    TimeoutOption,
    WaitOption,
    command,
)
from api.cli.render import console
from api.words import texts
from meta.errors import BadInput
from reconciler.plan.phases import SETTLED

NewNameArgument = Annotated[str, typer.Argument(metavar="NAME", help="1 to 11 of a-z, 0-9 and '-'", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    command(app, "spawn", DECIDE, examples=("hive spawn alice --runtime claude --wait",))(spawn)
    command(app, "request-spawn", DECIDE, examples=("hive request-spawn bob -m 'a reviewer'",))(request_spawn)
    command(app, "rollback", DECIDE, examples=("hive rollback alice --wait", "hive rollback alice 3"))(rollback)
    command(app, "adopt", DECIDE, examples=("hive adopt alice --running", "hive adopt alice --meta"))(adopt)


def spawn(
    client: Client,
    name: NewNameArgument,
    runtime: SpawnRuntimeOption = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="its model", show_default="the runtime's default")
    ] = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = WAIT_SECONDS,
    json: JsonOption = False,
) -> None:
    """Create an agent now, without an approval. After `hive destroy` it uses the repos and state that were kept."""
    waits = Waits(wait, timeout)
    body: Row = {"runtime": runtime[-1]} if runtime else {}
    if model is not None:
        body["model"] = model
    card = deploy(client, f"/api/agents/{name}/spawn", body, waits, agent=name)
    show_deploy(card, waits, json, "is being spawned")


def request_spawn(client: Client, name: NewNameArgument, message: MessageOption = "", json: JsonOption = False) -> None:
    """Propose a new agent. Like a request by the manager, it waits for an approval."""
    card = client.post(f"/api/agents/{name}/request-spawn", {"description": message})
    approve = f"next: `hive approve {card['id']}`"
    with_runtime = f" with runtime {card['runtime']}" if card["runtime"] else ""
    show_card(card, json, f"{card['id']} asks for the new agent {name}{with_runtime}", approve)


def rollback(
    client: Client,
    agent: AgentArgument,
    id: Annotated[
        int | None,
        typer.Argument(
            metavar="ID", help="a deployed id", autocompletion=completion.deployed, show_default="the one before"
        ),
    ] = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = WAIT_SECONDS,
    json: JsonOption = False,
) -> None:
    """Go back to an older deployed commit. It gets a new id, which is approved at once."""
    waits = Waits(wait, timeout)
    card = deploy(client, f"/api/agents/{agent}/rollback", {"to": id}, waits, agent=agent)
    show_deploy(card, waits, json, "rolls back")


def adopt(
    client: Client,
    agent: AgentArgument,
    running: Annotated[bool, typer.Option("--running", help="what runs is right: write it into meta")] = False,
    meta: Annotated[bool, typer.Option("--meta", help="meta is right: the agent goes back to it")] = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = WAIT_SECONDS,
    json: JsonOption = False,
) -> None:
    """Decide which side is right for an agent in phase `disagrees` (after meta was restored from an older backup)."""
    if running == meta:
        raise BadInput("say which side is right", f"`hive adopt {agent} --running` or `hive adopt {agent} --meta`")
    with follow(client, agent, Waits(wait, timeout)) as follower:
        answer = client.post(f"/api/agents/{agent}/adopt", {"side": "running" if running else "meta"})
        if follower is not None:
            follower.until_settled(SETTLED)
    if json:
        console.write_json(answer)
    else:
        console.write(f"{agent}: {'meta takes over what runs' if running else 'goes back to what meta pins'}")


def deploy(
    client: Client, path: str, body: Row, waits: Waits, *, agent: str | None = None, owner: str | None = None
) -> Row:
    """Request a deploy, wait for its end if `waits` asks for that, and return its card.

    `agent` is known if the request names one. `owner` distinguishes the ids 0, one of which each agent has.
    """
    with follow(client, agent or owner, waits) as follower:
        card = client.post(path, body, {"agent": owner})
        if follower is not None:
            follower.about(card["agent"], card["id"])
            card = deployed(client, follower, card["id"], card["agent"])
    return dict(card)


def show_deploy(card: Row, waits: Waits, json: bool, verb: str) -> None:
    """Print the end of a deploy, or how to follow it."""
    id, agent = card["id"], card["agent"]
    if waits.on:
        commit = f", at commit {texts.short_commit(card['fetched_sha'])}" if card["fetched_sha"] else ""
        show_card(card, json, f"{agent} has {id} deployed{commit}", *([card["note"]] if card["note"] else []))
    else:
        show_card(card, json, f"{id} of {agent} {verb}", f"next: `hive plan {agent}`, `hive events --follow`")


def show_card(card: Row, json: bool, *lines: str) -> None:
    """Print a card as JSON, or `lines` about it."""
    if json:
        console.write_json(card)
        return
    for line in lines:
        console.write(line)

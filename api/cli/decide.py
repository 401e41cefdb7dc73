"""Commands that change what agents are: proposals and the decisions about them, spawn, rollback, adopt."""

from pathlib import Path
from typing import Annotated

import typer

from api.cli import complete, output
from api.cli.client import Client, Row
from api.cli.command import (
    DECIDE,
    WAIT_SECONDS,
    AgentArgument,
    CancelArgument,
    JsonOption,
    OwnerOption,
    PendingArgument,
    RetryArgument,
    TimeoutOption,
    WaitOption,
    command,
)
from api.cli.progress import UP, Waits, deployed, follow
from meta.errors import BadInput

NewNameArgument = Annotated[str, typer.Argument(metavar="NAME", help="1 to 11 of a-z, 0-9 and '-'", show_default=False)]
MessageOption = Annotated[str, typer.Option("-m", "--message", metavar="TEXT", help="what the operator should know")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    command(app, "propose", DECIDE, examples=("hive propose alice", "hive propose alice --from ~/src/alice"))(propose)
    command(app, "approve", DECIDE, examples=("hive approve 7 --wait", "hive approve 7 --sha 1a2b3c4"))(approve)
    command(app, "deny", DECIDE, examples=("hive deny 7 --reason 'too broad'",))(deny)
    command(app, "retry", DECIDE, examples=("hive retry 7",))(retry)
    command(app, "cancel", DECIDE, examples=("hive cancel 7",))(cancel)
    command(app, "spawn", DECIDE, examples=("hive spawn alice --wait",))(spawn)
    command(app, "request-spawn", DECIDE, examples=("hive request-spawn bob -m 'a reviewer'",))(request_spawn)
    command(app, "rollback", DECIDE, examples=("hive rollback alice --wait", "hive rollback alice 3"))(rollback)
    command(app, "adopt", DECIDE, examples=("hive adopt alice --running", "hive adopt alice --meta"))(adopt)


def propose(
    client: Client,
    agent: AgentArgument,
    commit: Annotated[
        str | None, typer.Argument(metavar="COMMIT", show_default="the tip", help="7 to 40 hex digits")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--from", metavar="DIR", help="a git work tree, instead of the proposed one")
    ] = None,
    message: MessageOption = "",
    json: JsonOption = False,
) -> None:
    """Propose a commit of an agent's proposed work tree (or of --from).

    hive fetches exactly that commit, checks it and keeps it; what happens in the work tree afterwards changes nothing.
    """
    body = {
        "agent": agent,
        "commit": commit,
        "description": message,
        "source": str(Path(source).expanduser().absolute()) if source else None,
    }
    card = client.post("/api/proposals", body)
    id = card["id"]
    _say_card(
        card,
        json,
        f"proposal {id} for {agent} is commit {output.short(card['fetched_sha'])}",
        f"next: `hive diff {id}`, then `hive approve {id}` or `hive deny {id} --reason ...`",
    )


def approve(
    client: Client,
    id: PendingArgument,
    sha: Annotated[
        str | None, typer.Option("--sha", metavar="COMMIT", help="the commit you were shown; another one is refused")
    ] = None,
    shown: Annotated[
        str | None,
        typer.Option("--shown", metavar="FINGERPRINT", help="the preview you were shown, as `hive diff` ends"),
    ] = None,
    agent: OwnerOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = WAIT_SECONDS,
    json: JsonOption = False,
) -> None:
    """Approve a proposal: hive builds it, switches the agent, and goes back if it does not become healthy."""
    path = f"/api/proposals/{id}/approve"
    _deploy(client, path, {"seen": sha, "shown": shown}, Waits(wait, timeout), json, "approved", whose=agent)


def deny(
    client: Client,
    id: PendingArgument,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="why; kept in the tag denied/ID")] = "",
    agent: OwnerOption = None,
    json: JsonOption = False,
) -> None:
    """Deny a pending proposal. After approval there is `hive cancel`."""
    card = client.post(f"/api/proposals/{id}/deny", {"reason": reason}, {"agent": agent})
    _say_card(card, json, f"proposal {id} for {card['agent']} is denied")


def retry(
    client: Client,
    id: RetryArgument,
    agent: OwnerOption = None,
    json: JsonOption = False,
) -> None:
    """Propose the commit of a failed or denied id again, under a new id; a pending one is evaluated once more."""
    card = client.post(f"/api/proposals/{id}/retry", {}, {"agent": agent})
    new = card["id"]
    if str(new) == str(id):
        _say_card(card, json, f"proposal {new} for {card['agent']} is looked at again", f"next: `hive diff {new}`")
        return
    _say_card(
        card,
        json,
        f"proposal {new} for {card['agent']} is commit {output.short(card['fetched_sha'])} again",
        f"next: `hive diff {new}`, then `hive approve {new}`",
    )


def cancel(
    client: Client,
    id: CancelArgument,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="why; kept in the tag failed/ID")] = "",
    agent: OwnerOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = WAIT_SECONDS,
    json: JsonOption = False,
) -> None:
    """End an approved deploy that is not committed yet; the agent goes back to what it ran."""
    waits = Waits(wait, timeout)
    owner = client.row(f"/api/proposals/{id}", {"agent": agent})["agent"] if wait else None
    with follow(client, owner, waits) as follower:
        card = client.post(f"/api/proposals/{id}/cancel", {"reason": reason}, {"agent": agent})
        if follower is not None:
            follower.rest()
    _say_card(card, json, f"{id} of {card['agent']} is cancelled")


def spawn(
    client: Client,
    name: NewNameArgument,
    wait: WaitOption = False,
    timeout: TimeoutOption = WAIT_SECONDS,
    json: JsonOption = False,
) -> None:
    """Make an agent now, without an approval. A destroyed agent of that name goes on with what was kept of it."""
    _deploy(client, f"/api/agents/{name}/spawn", {}, Waits(wait, timeout), json, "is being spawned", agent=name)


def request_spawn(client: Client, name: NewNameArgument, message: MessageOption = "", json: JsonOption = False) -> None:
    """Ask for an agent through the approval queue, as the manager does."""
    card = client.post(f"/api/agents/{name}/request-spawn", {"description": message})
    _say_card(card, json, f"{card['id']} asks for the new agent {name}", f"next: `hive approve {card['id']}`")


def rollback(
    client: Client,
    agent: AgentArgument,
    id: Annotated[
        int | None,
        typer.Argument(
            metavar="ID", help="a deployed id", autocompletion=complete.deployed, show_default="the one before"
        ),
    ] = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = WAIT_SECONDS,
    json: JsonOption = False,
) -> None:
    """Go back to an older deployed commit: a new id with that commit, approved at once."""
    _deploy(client, f"/api/agents/{agent}/rollback", {"to": id}, Waits(wait, timeout), json, "rolls back", agent=agent)


def adopt(
    client: Client,
    agent: AgentArgument,
    running: Annotated[bool, typer.Option("--running", help="meta takes over what runs")] = False,
    meta: Annotated[bool, typer.Option("--meta", help="the agent goes back to what meta says")] = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = WAIT_SECONDS,
    json: JsonOption = False,
) -> None:
    """Decide for an agent in phase `disagrees` (meta was restored from an older backup)."""
    if running == meta:
        raise BadInput("say which side is right", f"`hive adopt {agent} --running` or `hive adopt {agent} --meta`")
    with follow(client, agent, Waits(wait, timeout)) as follower:
        answer = client.post(f"/api/agents/{agent}/adopt", {"side": "running" if running else "meta"})
        if follower is not None:
            follower.rest(UP | {"stopped"})
    if json:
        output.say_json(answer)
    else:
        output.say(f"{agent}: {'meta takes over what runs' if running else 'goes back to what meta says'}")


def _deploy(
    client: Client,
    path: str,
    body: Row,
    waits: Waits,
    json: bool,
    verb: str,
    *,
    agent: str | None = None,
    whose: str | None = None,
) -> None:
    """`whose` tells ids 0 apart; `agent` is known where the request names one."""
    with follow(client, agent or whose, waits) as follower:
        card = client.post(path, body, {"agent": whose})
        id, owner = card["id"], card["agent"]
        if follower is not None:
            follower.about(owner)
            card = deployed(client, follower, id, owner)
    if waits.on:
        commit = f", at commit {output.short(card['fetched_sha'])}" if card["fetched_sha"] else ""
        _say_card(card, json, f"{owner} has {id} deployed{commit}")
    else:
        _say_card(card, json, f"{id} of {owner} {verb}", f"next: `hive plan {owner}`, `hive events --follow`")


def _say_card(card: Row, json: bool, *lines: str) -> None:
    if json:
        output.say_json(card)
        return
    for line in lines:
        output.say(line)

"""Commands that change what agents are: proposals and the decisions about them, spawn, rollback, adopt."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from api.cli.client import completion
from api.cli.client.follow import UP, Waits, deployed, follow
from api.cli.client.http import Client, Row
from api.cli.command import (
    DECIDE,
    WAIT_SECONDS,
    AgentArgument,
    CancelArgument,
    JsonOption,
    OwnerOption,
    RetryArgument,
    TimeoutOption,
    WaitOption,
    command,
)
from api.cli.commands.bulk import each
from api.cli.render import output
from api.cli.render.status import ids as ids_of
from meta.errors import BadInput

NewNameArgument = Annotated[str, typer.Argument(metavar="NAME", help="1 to 11 of a-z, 0-9 and '-'", show_default=False)]
PendingIds = Annotated[
    list[int],
    typer.Argument(metavar="ID", help="the proposals' ids", autocompletion=completion.pending, show_default=False),
]
DeniedIds = Annotated[
    list[int] | None,
    typer.Argument(metavar="ID", help="the proposals' ids", autocompletion=completion.pending, show_default=False),
]
ReasonOption = Annotated[
    str, typer.Option("--reason", "-m", metavar="TEXT", help="why; kept in the tag denied/ID, or failed/ID")
]
MessageOption = Annotated[str, typer.Option("-m", "--message", metavar="TEXT", help="what the operator should know")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    command(app, "propose", DECIDE, examples=("hive propose alice", "hive propose alice --from ~/src/alice"))(propose)
    command(
        app, "approve", DECIDE, examples=("hive approve 7 --wait", "hive approve 7 --sha 1a2b3c4", "hive approve 7 8")
    )(approve)
    denials = ("hive deny 7 -m 'too broad'", "hive deny 7 8 9", "hive deny --agent alice --all")
    command(app, "deny", DECIDE, examples=denials)(deny)
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
    ids: PendingIds,
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
    """Approve a proposal: hive builds it, switches the agent, and goes back if it does not become healthy.

    Several ids are approved one after the other. One that is stale is refused and stays pending.
    """
    if len(ids) > 1 and (sha or shown):
        raise BadInput(
            "--sha and --shown are of one proposal", f"`hive approve {ids[0]} --sha COMMIT`, then the others"
        )

    def one(id: int) -> Row:
        path, body = f"/api/proposals/{id}/approve", {"seen": sha, "shown": shown}
        return _deploy(
            client, path, body, Waits(wait, timeout), json, "approved", whose=agent, one_of_several=len(ids) > 1
        )

    if len(ids) == 1:
        one(ids[0])
    else:
        each(ids, one, json, "approved")


def deny(
    client: Client,
    ids: DeniedIds = None,
    reason: ReasonOption = "",
    agent: Annotated[
        str | None,
        typer.Option(
            "--agent",
            metavar="NAME",
            help="whose; needed for the id 0, which each agent's first spawn has, and with --all",
            autocompletion=completion.agents,
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="every pending one of the agent, after a question")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="with --all: do not ask")] = False,
    json: JsonOption = False,
) -> None:
    """Deny pending proposals. After approval there is `hive cancel`."""
    wanted = _all_pending(client, agent, yes) if everything and not ids else list(ids or ())
    if (everything and ids) or (not everything and not wanted):
        raise BadInput(
            "say which proposals: ids, or --agent NAME --all", "`hive deny 7 8`, `hive deny --agent alice --all`"
        )
    if not wanted and not json:
        output.say(f"nothing of {agent} is pending")

    def one(id: int) -> Row:
        card = client.post(f"/api/proposals/{id}/deny", {"reason": reason}, {"agent": agent})
        if not json:
            output.say(f"proposal {id} for {card['agent']} is denied")
        elif len(wanted) == 1 and not everything:
            output.say_json(card)
        return card

    if len(wanted) == 1 and not everything:
        one(wanted[0])
    else:
        each(wanted, one, json, "denied")


def _all_pending(client: Client, agent: str | None, yes: bool) -> list[int]:
    """The pending ids of an agent, once the operator said yes to them."""
    if agent is None:
        raise BadInput("--all needs --agent", "`hive deny --agent alice --all`")
    found = [int(card["id"]) for card in client.rows("/api/proposals", {"agent": agent})]
    if found and not yes:
        if not sys.stdin.isatty():
            raise BadInput(f"{len(found)} proposals of {agent} would be denied", "add --yes, there is nobody to ask")
        typer.confirm(f"deny {len(found)} proposals of {agent} ({ids_of(found)})?", abort=True, err=True)
    return found


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
    reason: ReasonOption = "",
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
            metavar="ID", help="a deployed id", autocompletion=completion.deployed, show_default="the one before"
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
    one_of_several: bool = False,
) -> Row:
    """`whose` tells ids 0 apart; `agent` is known where the request names one. One of several prints no JSON."""
    with follow(client, agent or whose, waits) as follower:
        card = client.post(path, body, {"agent": whose})
        id, owner = card["id"], card["agent"]
        if follower is not None:
            follower.about(owner)
            card = deployed(client, follower, id, owner)
    if one_of_several and json:
        return dict(card)
    if waits.on:
        commit = f", at commit {output.short(card['fetched_sha'])}" if card["fetched_sha"] else ""
        _say_card(card, json, f"{owner} has {id} deployed{commit}", *([card["note"]] if card["note"] else []))
    else:
        _say_card(card, json, f"{id} of {owner} {verb}", f"next: `hive plan {owner}`, `hive events --follow`")
    return dict(card)


def _say_card(card: Row, json: bool, *lines: str) -> None:
    if json:
        output.say_json(card)
        return
    for line in lines:
        output.say(line)

"""Proposals and the decisions about them: pending, propose, approve, deny, retry, cancel."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from api.cli.client import completion
from api.cli.client.exit_codes import Failed, Unreachable
from api.cli.client.follow import Waits, follow
from api.cli.client.http import Client, Row
from api.cli.command import (
    DECIDE,
    LOOK,
    WAIT_SECONDS,
    AgentArgument,
    CancelArgument,
    JsonOption,
    MessageOption,
    OwnerOption,
    RetryArgument,
    TimeoutOption,
    WaitOption,
    YesOption,
    command,
)
from api.cli.commands.deploys import deploy, show_card, show_deploy
from api.cli.render import console
from api.cli.render.status import ids as ids_of
from api.cli.render.status import show_conditions
from api.cli.terminal.confirm import confirm, has_terminal
from api.words import texts, times
from api.words.users import person
from meta.errors import BadInput, HiveError, Unseen

PendingIds = Annotated[
    list[int],
    typer.Argument(metavar="ID", help="the proposals' ids", autocompletion=completion.pending, show_default=False),
]
DeniedIds = Annotated[
    list[int] | None,
    typer.Argument(metavar="ID", help="the proposals' ids", autocompletion=completion.pending, show_default=False),
]
ReasonOption = Annotated[
    str, typer.Option("--reason", "-m", metavar="TEXT", help="the reason; kept in the tag denied/ID or failed/ID")
]

SeenOption = Annotated[
    str | None, typer.Option("--sha", metavar="COMMIT", help="the commit that you saw; any other is refused")
]
ShownOption = Annotated[
    str | None,
    typer.Option("--shown", metavar="FINGERPRINT", help="the preview that you saw, from the last line of `hive diff`"),
]
UnseenOption = Annotated[
    bool, typer.Option("--unseen", help="approve also what `hive diff` does not show; else hive asks, or refuses")
]
WithoutPasskeyOption = Annotated[
    bool,
    typer.Option("--without-passkey", help="root only, and recorded: approve where a touch of a passkey is needed"),
]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    command(app, "pending", LOOK, examples=("hive pending", "hive pending --all", "hive pending --refused"))(pending)
    command(app, "propose", DECIDE, examples=("hive propose alice", "hive propose alice --from ~/src/alice"))(propose)
    command(
        app, "approve", DECIDE, examples=("hive approve 7 --wait", "hive approve 7 --sha 1a2b3c4", "hive approve 7 8")
    )(approve)
    denials = ("hive deny 7 -m 'too broad'", "hive deny 7 8 9", "hive deny --agent alice --all")
    command(app, "deny", DECIDE, examples=denials)(deny)
    command(app, "retry", DECIDE, examples=("hive retry 7",))(retry)
    command(app, "rebase", DECIDE, examples=("hive rebase 7",))(rebase)
    command(app, "cancel", DECIDE, examples=("hive cancel 7",))(cancel)


def pending(
    client: Client,
    everything: Annotated[bool, typer.Option("--all", "-a", help="also those that have ended, newest first")] = False,
    refused: Annotated[bool, typer.Option("--refused", help="only the branches that hive refused, and why")] = False,
    json: JsonOption = False,
) -> None:
    """List proposals that wait for a decision, and below them the branches that hive refused.

    Show one with `hive diff`, then `hive approve` or `hive deny` it. A stale proposal does not descend from what the
    agent runs now: `hive diff` shows how to rebase it.
    """
    if refused:
        _show_refused(client, json)
        return
    rows = client.rows("/api/proposals", {"all": everything})
    if json:
        console.write_json(rows)
        return
    console.table(
        ("ID", "AGENT", "KIND", "STATE", "COMMIT", "AGE", "BRANCH", "BY", "ABOUT"),
        (
            (
                row["id"],
                row["agent"],
                row["kind"],
                _state(row),
                texts.short_commit(row["fetched_sha"]),
                times.age(row["requested_at"]),
                row["branch"] or "",
                person(row["proposed_by"]),
                _about(row),
            )
            for row in rows
        ),
        empty="nothing is pending" if not everything else "no proposals yet",
        optional=("COMMIT", "KIND", "AGE"),
    )
    notes = [f"{row['agent']}: {row['reason']}" for row in client.rows("/api/waiting")]
    notes += [f"{tip['agent']}: {_refusal(tip)}" for tip in client.rows("/api/refused")]
    show_conditions(_stale(rows) + notes)


def _about(row: Row) -> str:
    """Return the reason of what failed, else what a proposal is for; of a spawn also what will take its turns."""
    if row["state"] in ("failed", "denied"):
        return texts.first_line(row["note"])
    parts = (f"runtime {row['runtime']}" if row["runtime"] else "", texts.first_line(row["description"]))
    return ": ".join(part for part in parts if part)


def _show_refused(client: Client, json: bool) -> None:
    tips = client.rows("/api/refused")
    if json:
        console.write_json(tips)
        return
    for tip in tips:
        console.write(f"{tip['agent']}: {_refusal(tip)}")
    if not tips:
        console.write("no branch is refused")


def _refusal(tip: Row) -> str:
    by = f" ({person(tip['by'])})" if tip["by"] else ""
    return f"{tip['branch']} at {texts.short_commit(tip['commit'])}{by} is refused: {tip['reason']}; {tip['remedy']}"


def _stale(rows: Sequence[Row]) -> list[str]:
    """Return a line for each agent that has stale proposals: how hive can rebase them."""
    ids: dict[str, list[int]] = {}
    for row in rows:
        if row["stale"] and row["state"] == "proposal":
            ids.setdefault(row["agent"], []).append(row["id"])
    return [_rebase_hint(agent, stale) for agent, stale in ids.items()]


def _rebase_hint(agent: str, stale: Sequence[int]) -> str:
    which = f"{agent}: {ids_of(stale)} {'is' if len(stale) == 1 else 'are'} stale, made before what it runs now"
    oldest = stale[0]
    return f"{which}; `hive rebase {oldest}` replays {'it' if len(stale) == 1 else 'the first'}"


def _state(row: Row) -> str:
    if row["state"] == "proposal":
        return "stale: rebase" if row["stale"] else "pending"
    return str(row["state"])


def propose(
    client: Client,
    agent: AgentArgument,
    commit: Annotated[
        str | None, typer.Argument(metavar="COMMIT", show_default="the tip", help="7 to 40 hex digits")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--from", metavar="DIR", help="a git work tree to use instead of the proposed one")
    ] = None,
    message: MessageOption = "",
    json: JsonOption = False,
) -> None:
    """Propose a commit of an agent's proposed work tree, or of the work tree in --from.

    hive fetches, checks and keeps exactly that commit. Later changes in the work tree have no effect on the proposal.
    """
    body = {
        "agent": agent,
        "commit": commit,
        "description": message,
        "source": str(Path(source).expanduser().absolute()) if source else None,
    }
    card = client.post("/api/proposals", body)
    id = card["id"]
    show_card(
        card,
        json,
        f"proposal {id} for {agent} is commit {texts.short_commit(card['fetched_sha'])}",
        f"next: `hive diff {id}`, then `hive approve {id}` or `hive deny {id} --reason ...`",
    )


def approve(
    client: Client,
    ids: PendingIds,
    sha: SeenOption = None,
    shown: ShownOption = None,
    unseen: UnseenOption = False,
    without_passkey: WithoutPasskeyOption = False,
    agent: OwnerOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = WAIT_SECONDS,
    json: JsonOption = False,
) -> None:
    """Approve a proposal: hive builds it, switches the agent, and rolls back if the agent does not become healthy.

    Several ids are approved one after the other. A stale proposal is refused and stays pending.
    If approvals need the touch of a passkey, they are made on the dashboard.
    """
    if len(ids) > 1 and (sha or shown):
        raise BadInput(
            "--sha and --shown belong to one proposal", f"`hive approve {ids[0]} --sha COMMIT`, then the others"
        )

    waits = Waits(wait, timeout)

    def one(id: int) -> Row:
        body: dict[str, object] = {"seen": sha, "shown": shown, "unseen": unseen, "without_passkey": without_passkey}
        card = _approve(lambda body: deploy(client, f"/api/proposals/{id}/approve", body, waits, owner=agent), body)
        if len(ids) == 1 or not json:
            show_deploy(card, waits, json, "approved")
        return card

    if len(ids) == 1:
        one(ids[0])
    else:
        _each(ids, one, json, "approved")


def _approve(send: Callable[[dict[str, object]], Row], body: dict[str, object]) -> Row:
    """Send an approval. If the diff does not show all of it, ask, if there is a terminal, then send it as `unseen`."""
    try:
        return send(body)
    except Unseen as error:
        if not has_terminal() or not typer.confirm(f"{error.summary}. Approve it?", err=True):
            raise
        return send(body | {"unseen": True})


def deny(
    client: Client,
    ids: DeniedIds = None,
    reason: ReasonOption = "",
    agent: Annotated[
        str | None,
        typer.Option(
            "--agent",
            metavar="NAME",
            help="the agent of the proposal; needed for id 0, the first spawn of every agent, and with --all",
            autocompletion=completion.agents,
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="all pending proposals of the agent, after a confirmation")
    ] = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Deny pending proposals. Use `hive cancel` for an approved one."""
    wanted = _all_pending(client, agent, yes) if everything and not ids else list(ids or ())
    if (everything and ids) or (not everything and not wanted):
        raise BadInput(
            "name the proposals: ids, or --agent NAME --all", "`hive deny 7 8`, `hive deny --agent alice --all`"
        )
    if not wanted and not json:
        console.write(f"nothing of {agent} is pending")

    def one(id: int) -> Row:
        card = client.post(f"/api/proposals/{id}/deny", {"reason": reason}, {"agent": agent})
        if not json:
            console.write(f"proposal {id} for {card['agent']} is denied")
        elif len(wanted) == 1 and not everything:
            console.write_json(card)
        return card

    if len(wanted) == 1 and not everything:
        one(wanted[0])
    else:
        _each(wanted, one, json, "denied")


def _all_pending(client: Client, agent: str | None, yes: bool) -> list[int]:
    """Return the pending ids of an agent, after the operator has confirmed them."""
    if agent is None:
        raise BadInput("--all needs --agent", "`hive deny --agent alice --all`")
    ids = [int(card["id"]) for card in client.rows("/api/proposals", {"agent": agent})]
    if ids:
        count = f"{len(ids)} proposal{'' if len(ids) == 1 else 's'}"
        confirm(f"{count} of {agent} would be denied ({ids_of(ids)})", yes=yes)
    return ids


def retry(
    client: Client,
    id: RetryArgument,
    agent: OwnerOption = None,
    json: JsonOption = False,
) -> None:
    """Propose the commit of a failed or denied id again, under a new id. A pending proposal is evaluated again."""
    card = client.post(f"/api/proposals/{id}/retry", {}, {"agent": agent})
    new = card["id"]
    if str(new) == str(id):
        show_card(card, json, f"proposal {new} for {card['agent']} is evaluated again", f"next: `hive diff {new}`")
        return
    show_card(
        card,
        json,
        f"proposal {new} for {card['agent']} is commit {texts.short_commit(card['fetched_sha'])} again",
        f"next: `hive diff {new}`, then `hive approve {new}`",
    )


def rebase(
    client: Client,
    id: Annotated[
        int,
        typer.Argument(metavar="ID", help="a stale id", autocompletion=completion.stale, show_default=False),
    ],
    agent: OwnerOption = None,
    json: JsonOption = False,
) -> None:
    """Replay a stale proposal onto what the agent runs now. The result is a new proposal, which takes its place.

    Each commit keeps its message and its author. Merges are left out; their number is printed. If both sides
    changed the same lines, their files are named and nothing is changed: rebase in the clone then.
    """
    card = client.post(f"/api/proposals/{id}/rebase", {}, {"agent": agent})
    new, merges = card["id"], card["merges_left_out"]
    left_out = f"; {merges} merge commit{'s' * (merges != 1)} left out: what only a merge changed is not in it"
    show_card(
        card,
        json,
        f"proposal {new} for {card['agent']} is {id} on what it runs now, commit "
        f"{texts.short_commit(card['fetched_sha'])}{left_out if merges else ''}",
        f"next: `hive diff {new}`, then `hive approve {new}`",
    )


def cancel(
    client: Client,
    id: CancelArgument,
    reason: ReasonOption = "",
    agent: OwnerOption = None,
    yes: YesOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = WAIT_SECONDS,
    json: JsonOption = False,
) -> None:
    """Cancel an approved deploy that is not committed yet. The agent goes back to what it ran before. It asks first."""
    confirm(f"the deploy of {id} will end as failed, and its agent goes back to what it ran", yes=yes)
    waits = Waits(wait, timeout)
    owner = client.row(f"/api/proposals/{id}", {"agent": agent})["agent"] if wait else None
    with follow(client, owner, waits) as follower:
        card = client.post(f"/api/proposals/{id}/cancel", {"reason": reason}, {"agent": agent})
        if follower is not None:
            follower.until_settled()
    show_card(card, json, f"{id} of {card['agent']} is cancelled")


def _each(ids: Sequence[int], one: Callable[[int], Row], json: bool, verb: str) -> None:
    """Call `one` for each id, even after one fails. With `json` print the list of their cards.

    Each error is printed at once. Raise Failed at the end if there was one.
    """
    wanted = list(dict.fromkeys(ids))
    cards: list[Row] = []
    for id in wanted:
        try:
            cards.append(one(id))
        except Unreachable:
            raise
        except HiveError as error:
            console.write_error(error)
    if json:
        console.write_json(cards)
    if len(cards) < len(wanted):
        missing = len(wanted) - len(cards)
        raise Failed(f"{missing} of {len(wanted)} could not be {verb}", "see the reasons above")

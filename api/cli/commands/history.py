"""Commands about an agent's commits: diff, history."""

from typing import Annotated

import typer

from api.cli.client import completion
from api.cli.client.http import Client, Row
from api.cli.command import LOOK, AgentArgument, JsonOption, OwnerOption, command, count_of
from api.cli.render import output
from api.cli.render.users import who
from meta.errors import BadInput
from meta.layout import Layout
from meta.names import agent_name

MOST_ROWS = 1000
MOST_COMMITS = 10
"""Subjects that are printed."""

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""What git compares a first commit with."""


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    command(app, "diff", LOOK, examples=("hive diff 7", "hive diff alice", "hive diff alice 3..7"))(diff)
    command(app, "history", LOOK, examples=("hive history alice", "hive history alice -n 5 --json"))(history)


def diff(
    client: Client,
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="a proposal's id, or an agent's name",
            autocompletion=completion.diffable,
            show_default=False,
        ),
    ],
    between: Annotated[
        str | None,
        typer.Argument(
            metavar="A..B",
            help="of an agent: two ids or commits; A alone: from there to now",
            autocompletion=completion.span,
            show_default="what the last deploy changed",
        ),
    ] = None,
    agent: OwnerOption = None,
    json: JsonOption = False,
) -> None:
    """What a proposal changes: settings first, then the patch. Of one that failed or was denied also why.

    Approve exactly what you saw with `hive approve ID --sha COMMIT`. For an agent: what changed between two of its
    commits, deployed or not.
    """
    if what.isascii() and what.isdigit():
        if between is not None:
            raise BadInput(f"{what} is a proposal, and A..B is of an agent", "`hive diff alice 3..7`")
        _proposal(client, int(what), agent, json)
    else:
        _change(client, agent_name(what), between, json)


def _change(client: Client, agent: str, between: str | None, json: bool) -> None:
    first, _, last = (between or "").partition("..")
    found = client.row(f"/api/agents/{agent}/diff", {"from": first or None, "to": last.lstrip(".") or None})
    if json:
        output.say_json(found)
        return
    output.heading(f"{agent}: {output.short(found['base'])} -> {output.short(found['sha'])}")
    _say_commits(found["commits"])
    if not found["files"]:
        output.say("  no difference")
    _say_settings(found)
    _say_files(client, found)
    _say_patch(found)


def _proposal(client: Client, id: int, agent: str | None, json: bool) -> None:
    found = client.row(f"/api/proposals/{id}/diff", {"agent": agent})
    if json:
        output.say_json(found)
        return
    base = output.short(found["base"]) or "nothing"
    output.heading(f"proposal {found['id']} for {found['agent']}: {base} -> {output.short(found['sha'])}")
    said = [line for line in str(found["description"]).strip().split("\n") if line]
    for line in said:
        output.say(f"  {line}")
    _say_commits(found["commits"], said[0] if said else "")
    _say_end(client.row(f"/api/proposals/{id}", {"agent": found["agent"]}))
    _say_settings(found)
    _say_preview(found)
    if found["build"]:
        output.say()
        output.say("its build wrote last:")
        for line in found["build"]:
            output.say(f"  {line}")
    _say_files(client, found)
    _say_patch(found)


def _say_commits(subjects: list[str], title: str = "") -> None:
    """Newest first, not all of very many. One whose subject is the title already is nothing to say twice."""
    if len(subjects) == 1 and subjects[0] == title:
        return
    for subject in subjects[:MOST_COMMITS]:
        output.say(f"  commit {subject}")
    more = len(subjects) - MOST_COMMITS
    if more > 0:
        output.say(f"  and {more} more")


def _say_settings(found: Row) -> None:
    if found["settings"]:
        output.say()
        output.table(("SETTING", "NOW", "THEN"), found["settings"], empty="")


def _say_files(client: Client, found: Row) -> None:
    """Show every changed file with its sizes, never cut; after them what the patch leaves out."""
    changes = found["changes"]
    if not changes:
        return
    output.say()
    output.say(f"{len(changes)} changed file{'s' if len(changes) != 1 else ''}, sizes in bytes:")
    for change in changes:
        output.say(f"  {_file_line(change)}")
    if found["cut"]:
        hidden = sum(not change["shown"] for change in changes)
        repo = Layout(client.where.state, client.where.runtime).applied_git(found["agent"])
        output.say(f"{hidden} of them {'is' if hidden == 1 else 'are'} not whole in the patch below: {found['cut']}")
        output.say(f"  read them with: git --git-dir={repo} diff {found['base'] or EMPTY_TREE} {found['sha']} -- FILE")


def _file_line(change: Row) -> str:
    name = change["path"].replace("\n", "\\n")
    if change["old_path"]:
        name = f"{change['old_path']} -> {name}".replace("\n", "\\n")
    size = " -> ".join(str(size) for size in (change["old_size"], change["new_size"]) if size is not None)
    notes = [
        "binary" if change["binary"] else "",
        _KINDS.get(change["new_mode"], "") if change["old_mode"] != change["new_mode"] else "",
        "" if change["shown"] else "NOT WHOLE BELOW",
    ]
    return ", ".join(part for part in (f"{change['status']:8} {name}  {size}".rstrip(), *notes) if part)


_KINDS = {"100755": "executable", "120000": "symlink", "160000": "submodule"}


def _say_patch(found: Row) -> None:
    if found["invisible"]:
        output.say()
        output.say(f"it holds characters that are invisible, shown as escapes: {', '.join(found['invisible'])}")
    if found["patch"]:
        output.say()
        output.patch(found["patch"])


def _say_preview(found: Row) -> None:
    """What would be built, where the builder can say."""
    if not found["previews"] and not found["complaint"]:
        return
    output.say()
    if found["complaint"]:
        output.say("it cannot be built:")
        for line in str(found["complaint"]).split("\n"):
            output.say(f"  {line}".rstrip())
    elif found["shown"] is None:
        output.say("it is not evaluated yet; look again in a moment")
    else:
        if found["same"]:
            output.say("the system would be the same")
        elif found["system"]:
            output.say("the system that would run (of what else changes the patch tells):")
        else:
            output.say("the system would be another, in what no summary names: read the patch")
        for line in found["system"]:
            output.say(f"  {line}")
    if found["shown"] is not None and not found["complaint"]:
        output.say(f"approve exactly this: hive approve {found['id']} --shown {found['shown']}")


def _say_end(card: Row) -> None:
    """How it ended, or that it cannot be deployed as it is."""
    if card["state"] in ("failed", "denied"):
        _say_why(card)
    if card["stale"]:
        output.say(f"  stale: it does not descend from what {card['agent']} has; {card['stale']}")


def _say_why(card: Row) -> None:
    why = str(card["note"] or "no reason was recorded").strip().split("\n")
    output.say(f"  {card['state']}: {why[0]}")
    for line in why[1:]:
        output.say(f"    {line}".rstrip())


def history(
    client: Client,
    agent: AgentArgument,
    count: Annotated[int, typer.Option("-n", "--limit", metavar="N", help="how many, newest first")] = 20,
    json: JsonOption = False,
) -> None:
    """Every id of an agent, newest first: what became of it, who asked, who decided, and why.

    `hive diff AGENT A..B` shows what changed between two of them.
    """
    rows = client.rows("/api/proposals", {"all": True, "agent": agent, "limit": count_of(count, MOST_ROWS)})
    if not rows:
        client.rows("/api/plan", {"agent": agent})  # is there such an agent?
    if json:
        output.say_json(rows)
        return
    output.table(
        ("ID", "KIND", "STATE", "COMMIT", "ASKED", "ENDED", "BY", "DECIDED BY", "ABOUT", "NOTE"),
        (
            (
                row["id"],
                row["kind"],
                row["state"] if row["state"] != "proposal" else "pending",
                output.short(row["sha"] or row["fetched_sha"])[:10],
                output.when(row["requested_at"])[:16],
                output.when(row["resolved_at"])[:16],
                who(row["proposed_by"]),
                who(row["decided_by"] or row["approved_by"]),
                output.first_line(row["description"]),
                _note(row),
            )
            for row in rows
        ),
        empty=f"{agent} has no history yet",
        optional=("ENDED", "COMMIT", "KIND", "DECIDED BY"),
    )


def _note(row: Row) -> str:
    """Why it ended, where somebody said more than the state does."""
    note = output.first_line(row["note"])
    return "" if note == row["state"] else note

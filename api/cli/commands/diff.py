"""`hive diff`: what a proposal changes, or what changed between two commits of an agent."""

import re
from typing import Annotated

import typer

from api.cli.client import completion
from api.cli.client.http import Client, Row
from api.cli.command import LOOK, JsonOption, OwnerOption, command
from api.cli.render import console
from api.cli.terminal.pager import paged
from api.words import texts
from meta.errors import BadInput
from meta.layout import Layout
from meta.names import agent_name
from meta.text import command_line

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""What git compares a first commit with."""

EXAMPLES = (
    "hive diff 7",
    "hive diff 7 --stat",
    "hive diff 7 -- agent.nix",
    "hive diff alice",
    "hive diff alice 3..7",
)
_SPAN = re.compile(r"[0-9a-f]*\.\.[0-9a-f]*")
MAX_COMMITS = 10
"""Subjects of commits that are printed."""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    command(app, "diff", LOOK, examples=EXAMPLES)(diff)


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
            metavar="A..B|FILE",
            help="for an agent: two ids or commits, A alone means from A to now; for a proposal: one file, more of "
            "which is shown",
            autocompletion=completion.span,
            show_default="what the last deploy changed",
        ),
    ] = None,
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="for an agent: one file", show_default=False)
    ] = None,
    stat: Annotated[bool, typer.Option("--stat", help="without the patch: the changed files with their sizes")] = False,
    agent: OwnerOption = None,
    no_pager: Annotated[bool, typer.Option("--no-pager", help="print it at once, on a terminal too")] = False,
    json: JsonOption = False,
) -> None:
    """Show what a proposal changes: settings first, then the patch. If it failed or was denied, also the reason.

    What is longer than the terminal is shown in HIVE_PAGER, PAGER or less.

    `hive approve ID --sha COMMIT` approves exactly the commit that you saw.

    For an agent show what changed between two of its commits, deployed or not.
    """
    is_id = what.isascii() and what.isdigit()
    diff = _diff_of_id(client, what, between, file, agent) if is_id else _diff(client, what, between, file)
    if json:
        console.write_json(diff)
    else:
        show = _proposal if is_id else _change
        with paged(wanted=not no_pager):
            show(client, diff, stat=stat)


def _diff_of_id(client: Client, id: str, path: str | None, file: str | None, agent: str | None) -> Row:
    if file is not None or (path is not None and _SPAN.fullmatch(path)):
        raise BadInput(f"{id} is a proposal, and A..B is of an agent", "`hive diff alice 3..7`")
    return client.row(f"/api/proposals/{id}/diff", {"agent": agent, "path": path})


def _diff(client: Client, agent: str, between: str | None, file: str | None) -> Row:
    first, _, last = (between or "").partition("..")
    query = {"from": first or None, "to": last.lstrip(".") or None, "path": file}
    return client.row(f"/api/agents/{agent_name(agent)}/diff", query)


def _change(client: Client, diff: Row, *, stat: bool) -> None:
    agent = diff["agent"]
    console.heading(f"{agent}: {texts.short_commit(diff['base'])} -> {texts.short_commit(diff['sha'])}")
    _show_commits(diff["commits"])
    if not diff["files"]:
        console.write("  no difference")
    _show_settings(diff)
    _show_files(client, diff)
    if not stat:
        _show_patch(diff)


def _proposal(client: Client, diff: Row, *, stat: bool) -> None:
    base = texts.short_commit(diff["base"]) or "nothing"
    console.heading(f"proposal {diff['id']} for {diff['agent']}: {base} -> {texts.short_commit(diff['sha'])}")
    description = [line for line in str(diff["description"]).strip().split("\n") if line]
    for line in description:
        console.write(f"  {line}")
    _show_commits(diff["commits"], description[0] if description else "")
    card = client.row(f"/api/proposals/{diff['id']}", {"agent": diff["agent"]})
    _show_end(card)
    _show_settings(diff)
    _show_override(card, diff)
    _show_preview(diff)
    if diff["build"]:
        console.write()
        console.write("the last lines of its build:")
        for line in diff["build"]:
            console.write(f"  {line}")
    _show_files(client, diff)
    if not stat:
        _show_patch(diff)


def _show_commits(subjects: list[str], title: str = "") -> None:
    """Show the newest commits. A single commit is left out if its subject is the title."""
    if len(subjects) == 1 and subjects[0] == title:
        return
    for subject in subjects[:MAX_COMMITS]:
        console.write(f"  commit {subject}")
    more = len(subjects) - MAX_COMMITS
    if more > 0:
        console.write(f"  and {more} more")


def _show_settings(diff: Row) -> None:
    """Show every changed setting whole: nothing is cut, and more rights come first."""
    if diff["words"]:
        console.write()
        console.write("agent.toml:")
        for line in "\n".join(diff["words"]).split("\n"):
            console.write(f"  {line}")


def _show_override(card: Row, diff: Row) -> None:
    """Show that the operator's model hides the one that the proposal sets. An older daemon does not know."""
    override, agent = card.get("model_override"), card["agent"]
    for _, _, then in (setting for setting in diff["settings"] if setting[0] == "model"):
        if override and then not in ("", override):
            console.write(f"  the model {override} that you set hides {then}; `hive model {agent} --default` ends that")


def _show_files(client: Client, diff: Row) -> None:
    """Show every changed file with its sizes, never cut; after them what the patch leaves out."""
    changes = diff["changes"]
    if changes or diff["cut"]:
        console.write()
    if not changes:
        if diff["cut"]:
            console.write(diff["cut"])
        return
    console.write(f"{len(changes)} changed file{'s' if len(changes) != 1 else ''}, sizes in bytes:")
    for change in changes:
        console.write(f"  {_file_line(change)}")
    if diff["cut"]:
        hidden = sum(not change["shown"] for change in changes)
        console.write(f"{hidden} of them {'is' if hidden == 1 else 'are'} not whole in the patch below: {diff['cut']}")
        console.write(f"  read one with: {_command_for_one(client, diff)}")


def _command_for_one(client: Client, diff: Row) -> str:
    """Return the command that shows a file of a diff that is cut. git's own shows one that is too large for hive's."""
    if len(diff["changes"]) > 1:
        what = [diff["id"]] if "id" in diff else [diff["agent"], f"{diff['base']}..{diff['sha']}"]
        return command_line("hive", "diff", *what, "--", "FILE")
    repo = Layout(client.where.state, client.where.runtime).applied_git(diff["agent"])
    return f"{command_line('git', f'--git-dir={repo}', 'diff', diff['base'] or EMPTY_TREE, diff['sha'])} | cat -A"


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


def _show_patch(diff: Row) -> None:
    if diff["invisible"]:
        console.write()
        console.write(f"invisible characters in it are shown as escapes: {', '.join(diff['invisible'])}")
    if diff["patch"]:
        console.write()
        console.patch(diff["patch"])


def _show_preview(diff: Row) -> None:
    """Show what would be built, if the builder has a preview."""
    if not diff["previews"] and not diff["complaint"]:
        return
    console.write()
    if diff["complaint"]:
        console.write("it cannot be built:")
        for line in str(diff["complaint"]).split("\n"):
            console.write(f"  {line}".rstrip())
    elif diff["shown"] is None:
        console.write("it is not evaluated yet; try again in a moment")
    else:
        if diff["same"]:
            console.write("the system stays the same")
        elif diff["system"]:
            console.write("changes of the system (the patch shows the rest):")
        else:
            console.write("the system changes in a way that the summary does not show: read the patch")
        for line in diff["system"]:
            console.write(f"  {line}")
    if diff["shown"] is not None and not diff["complaint"]:
        console.write(f"to approve exactly this: hive approve {diff['id']} --shown {diff['shown']}")


def _show_end(card: Row) -> None:
    """Show how the proposal ended, or that it is stale."""
    if card["state"] in ("failed", "denied"):
        _show_why(card)
    if card["stale"]:
        console.write(f"  stale: it does not descend from what {card['agent']} runs; {card['stale']}")


def _show_why(card: Row) -> None:
    why = str(card["note"] or "no reason was recorded").strip().split("\n")
    console.write(f"  {card['state']}: {why[0]}")
    for line in why[1:]:
        console.write(f"    {line}".rstrip())

"""`hive audit`: whether the record was tampered with, and who approved what. Read from disk, daemon or not."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.client.exit_codes import Code
from api.cli.client.http import Client
from api.cli.command import DAEMON, JsonOption, command
from api.cli.render import output
from meta.errors import BadInput

if TYPE_CHECKING:
    from reconciler.upkeep.audit.verify import Heads, Report


class What(StrEnum):
    """What to do."""

    VERIFY = "verify"
    APPROVALS = "approvals"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = (
        "hive audit verify",
        "hive audit verify --json > today.json",
        "hive audit verify --since yesterday.json",
        "hive audit approvals",
    )
    command(app, "audit", DAEMON, examples=examples)(audit)


def audit(
    client: Client,
    what: Annotated[What, typer.Argument(help="check everything, or list who approved what", show_default=False)],
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="FILE", help="the --json of an earlier audit: nothing of it may be gone"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check the chain of events, the tags and meta's commits against each other; exit 1 if they do not fit.

    Reads the state directory only: no daemon is asked, none is needed, nothing is locked or changed.
    """
    import asyncio

    from meta.layout import Layout
    from reconciler.upkeep.audit.verify import verify

    client.where.require_own_files()
    layout = Layout(client.where.state.resolve(), client.where.runtime.resolve())
    report = asyncio.run(verify(layout, _earlier(since) if since else None))
    if json:
        output.say_json({**asdict(report), "faults": report.faults, "warnings": report.warnings})
    elif what is What.APPROVALS:
        _say_approvals(report)
    else:
        _say(report)
    if what is What.VERIFY and report.faults:
        raise typer.Exit(Code.FAILED)


def _earlier(file: str) -> "Heads":
    from reconciler.upkeep.audit.verify import heads_from

    try:
        return heads_from(Path(file).read_bytes())
    except OSError as error:
        raise BadInput(
            f"cannot read {file}: {error.strerror}", "give the file that an earlier `--json` wrote"
        ) from error


def _say(report: "Report") -> None:
    rows = [(each.level, each.agent or "", "" if each.id is None else each.id, each.text) for each in report.findings]
    if rows:
        output.table(("LEVEL", "AGENT", "ID", "WHAT"), rows, empty="")
    tags = sum(len(refs) for refs in report.heads.tags.values())
    output.say(
        f"{report.events} events, {tags} tags of {len(report.heads.tags)} agents, {len(report.approvals)} approvals: "
        + ({0: "no fault", 1: "1 fault"}.get(report.faults) or f"{report.faults} faults")
        + ({0: "", 1: ", 1 warning"}.get(report.warnings, f", {report.warnings} warnings"))
    )
    output.say(f"meta {report.heads.meta}")
    if report.heads.hash:
        output.say(f"events {report.heads.uuid}-{report.heads.event} {report.heads.hash}")


def _say_approvals(report: "Report") -> None:
    rows = [
        (each.agent, each.id, each.state, output.when(each.at), each.by or "unknown", output.short(each.seen))
        for each in sorted(report.approvals, key=lambda each: (each.at, each.agent, each.id))
    ]
    output.table(("AGENT", "ID", "STATE", "WHEN", "BY", "SAW"), rows, empty="nothing was approved yet")

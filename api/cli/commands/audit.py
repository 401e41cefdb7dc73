"""`hive audit`: check that the record was not changed, list approvals and grants. Reads the disk, not the daemon."""

import time
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.client.exit_codes import Code
from api.cli.client.http import Client
from api.cli.command import DAEMON, JsonOption, command
from api.cli.render import console
from api.words import texts, times
from api.words.users import with_names
from meta.errors import BadInput

if TYPE_CHECKING:
    from reconciler.upkeep.audit.grants import Answer, Grant
    from reconciler.upkeep.audit.verify import Heads, Report


class What(StrEnum):
    """The audits that there are."""

    VERIFY = "verify"
    APPROVALS = "approvals"
    GRANTS = "grants"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = (
        "hive audit verify",
        "hive audit verify --json > today.json",
        "hive audit verify --since yesterday.json",
        "hive audit approvals",
        "hive audit grants",
    )
    command(app, "audit", DAEMON, examples=examples)(audit)


def audit(
    client: Client,
    what: Annotated[
        What,
        typer.Argument(
            help="check everything; or list who approved what, or which hosts were allowed for a time",
            show_default=False,
        ),
    ],
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="FILE", help="the --json of an earlier audit; report what is missing since"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check that the chain of events, the tags and meta's commits agree; exit 1 if they do not.

    It reads only the state directory. It needs no daemon, and locks and changes nothing.
    """
    import asyncio

    from meta.layout import Layout
    from reconciler.upkeep.audit.verify import verify

    client.where.require_own_files()
    layout = Layout(client.where.state.resolve(), client.where.runtime.resolve())
    report = asyncio.run(verify(layout, _earlier(since) if since else None))
    if json:
        console.write_json({**asdict(report), "faults": report.faults, "warnings": report.warnings})
    elif what is What.APPROVALS:
        _show_approvals(report)
    elif what is What.GRANTS:
        _show_grants(report)
    else:
        _write(report)
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


def _write(report: "Report") -> None:
    rows = [(each.level, each.agent or "", "" if each.id is None else each.id, each.text) for each in report.findings]
    if rows:
        console.table(("LEVEL", "AGENT", "ID", "WHAT"), rows, empty="")
    tags = sum(len(refs) for refs in report.heads.tags.values())
    console.write(
        f"{report.events} events, {tags} tags of {len(report.heads.tags)} agents, {len(report.approvals)} approvals: "
        + ({0: "no fault", 1: "1 fault"}.get(report.faults) or f"{report.faults} faults")
        + ({0: "", 1: ", 1 warning"}.get(report.warnings, f", {report.warnings} warnings"))
    )
    console.write(f"meta {report.heads.meta}")
    if report.heads.hash:
        console.write(f"events {report.heads.uuid}-{report.heads.event} {report.heads.hash}")


def _show_approvals(report: "Report") -> None:
    rows = [
        (
            row.agent,
            row.id,
            row.state,
            times.local_time(row.at),
            row.by or "unknown",
            texts.short_commit(row.seen),
            row.consent,
        )
        for row in sorted(report.approvals, key=lambda row: (row.at, row.agent, row.id))
    ]
    console.table(("AGENT", "ID", "STATE", "WHEN", "BY", "SAW", "HOW"), rows, empty="nothing was approved yet")


def _show_grants(report: "Report") -> None:
    rows = [
        (
            row.agent,
            row.rule,
            times.local_time(row.at),
            with_names(row.by) or "unknown",
            times.local_time(row.until),
            _end(row),
        )
        for row in report.grants
    ]
    headings = ("AGENT", "RULE", "WHEN", "BY", "UNTIL", "NOW")
    console.table(headings, rows, empty="no host was allowed for a time yet")
    if report.answers:
        console.write()
        console.table(("AGENT", "REQUEST", "RULE", "WHEN", "ANSWER", "BY"), map(_answer_row, report.answers), empty="")


def _answer_row(row: "Answer") -> tuple[object, ...]:
    by = with_names(row.by) if row.by else "its configuration"
    answer = f"{row.decision}: {row.reason}" if row.reason else row.decision
    return (row.agent, row.id, row.rule, times.local_time(row.at), answer, by)


def _end(grant: "Grant") -> str:
    if grant.revoked is not None:
        return f"ended {times.local_time(grant.revoked)} by {with_names(grant.revoked_by) or 'unknown'}"
    return "over" if grant.until <= time.time() else "in force"

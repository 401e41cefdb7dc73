"""`hive doctor`: check everything that an operator would check, with or without a daemon."""

import os
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.client.exit_codes import Code, Unreachable
from api.cli.client.http import Client
from api.cli.command import DAEMON, JsonOption, YesOption, command
from api.cli.render import console
from api.cli.terminal.confirm import confirm
from meta.errors import HiveError

if TYPE_CHECKING:
    from meta.config import Config
    from reconciler.upkeep.doctor.checks.base import AgentRow, Daemon, Subject
    from reconciler.upkeep.doctor.examine import Row

ANSWER_SECONDS = 20.0
"""A daemon that takes longer to answer counts as hanging."""
MOST_NAMED = 5
"""Leftovers that the question before their removal names."""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    command(app, "doctor", DAEMON, examples=("hive doctor", "hive doctor --fix", "hive doctor --json | jq .ok"))(doctor)


def doctor(
    client: Client,
    fix: Annotated[
        bool,
        typer.Option(
            "--fix",
            help="repair what is safe: stale locks, records of dead processes, empty leftovers, missing directories",
        ),
    ] = False,
    yes: YesOption = False,
    every: Annotated[bool, typer.Option("--all", help="also show the checks that passed")] = False,
    json: JsonOption = False,
) -> None:
    """Check this hive and its host, and show what to do about each problem. Exit 1 if a check failed.

    It changes nothing without --fix, which asks before it removes something, and needs no daemon. Run it as hive's
    user.
    """
    import asyncio  # slow to import, as are the modules below

    from reconciler.upkeep.doctor.examine import examine, failed

    client.where.require_own_files()
    subject, complaint = _subject(client)
    if fix and not yes:
        _confirm(asyncio.run(examine(subject)))
    rows = [*complaint, *asyncio.run(examine(subject, fix=fix))]
    if json:
        console.write_json({"ok": not failed(rows), "daemon": subject.held, "checks": [asdict(row) for row in rows]})
    else:
        _print(rows, every)
    if failed(rows):
        raise typer.Exit(Code.FAILED)


def _confirm(rows: list["Row"]) -> None:
    """Ask before the repairs that remove something."""
    doomed = [row.text for row in rows if row.removes]
    more = f"; and {len(doomed) - MOST_NAMED} more" if len(doomed) > MOST_NAMED else ""
    if doomed:
        confirm(f"{len(doomed)} of these will be removed: {'; '.join(doomed[:MOST_NAMED])}{more}", yes=False)


def _subject(client: Client) -> tuple["Subject", list["Row"]]:
    """Return what to examine, and a row if the settings in the environment are wrong."""
    from meta.layout import Layout
    from reconciler.upkeep.doctor.checks.base import Subject
    from reconciler.upkeep.doctor.examine import is_held

    layout = Layout(client.where.state.resolve(), client.where.runtime.resolve())
    config, complaint = _config()
    held = is_held(layout.lock)
    answer = _ask_in_time(client)
    if held is (answer is None):  # a daemon may have started or ended between the two checks
        held = is_held(layout.lock)
    names = answer if answer is not None else _names()
    daemon = _daemon(answer) if answer is not None else None
    subject = Subject(layout, config, names["backend"], names["builder"], held, daemon)
    return subject, complaint


def _names() -> dict[str, str]:
    """Return the backend and the builder of this environment."""
    return {"backend": os.environ.get("HIVE_BACKEND", "local"), "builder": os.environ.get("HIVE_BUILDER", "plain")}


def _daemon(answer: dict[str, Any]) -> "Daemon":
    from reconciler.upkeep.doctor.checks.base import Daemon

    lists = {"notes": tuple(answer.get("notes", ())), "agents": tuple(answer.get("agents", ()))}
    return Daemon(**{**answer, **lists})


def _config() -> tuple["Config", list["Row"]]:
    from meta.config import Config, config_from_environment
    from reconciler.upkeep.doctor.checks.base import Verdict
    from reconciler.upkeep.doctor.examine import Row

    try:
        return config_from_environment(), []
    except HiveError as error:
        return Config.model_validate({}), [Row("settings", Verdict.FAIL, error.summary, error.hint)]


def _ask_in_time(client: Client) -> dict[str, Any] | None:
    """Return the status of the daemon; None if no daemon answers."""
    answers: list[dict[str, Any] | None] = []
    # In a thread, because doctor must go on if the daemon hangs.
    thread = threading.Thread(target=lambda: answers.append(_ask(client)), daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    return answers[0] if answers else _unhealthy(client, f"it did not answer within {ANSWER_SECONDS:g} s")


def _ask(client: Client) -> dict[str, Any] | None:
    try:
        status = client.row("/api/status")
    except Unreachable:
        return None
    except HiveError as error:
        return _unhealthy(client, error.summary)
    answer: dict[str, Any] = {
        key: str(status[key]) for key in ("state", "revision", "backend", "builder", "limits", "isolation")
    }
    answer["notes"] = [str(note) for note in status["notes"]]
    answer["agents"] = [_agent(row) for row in status["agents"]]
    if isinstance(status.get("programs_path"), str):  # an older daemon does not have it
        answer["path"], answer["named"] = status["programs_path"], str(status.get("programs_named", ""))
    answer["dashboard"] = str(status.get("dashboard", ""))  # an older daemon does not have it
    try:
        client.get("/healthz")
    except HiveError as error:
        return {**answer, "trouble": error.summary}
    return answer


def _agent(row: dict[str, Any]) -> "AgentRow":
    from reconciler.upkeep.doctor.checks.base import AgentRow

    conditions = tuple(str(each) for each in row["conditions"])
    program = " ".join(filter(None, (str(row.get("runtime", "")), str(row.get("program", "")))))
    return AgentRow(
        str(row["agent"]),
        str(row["phase"]),
        conditions,
        str(row.get("declared", "")),
        program,
        str(row.get("runtime_problem", "")),
    )


def _unhealthy(client: Client, trouble: str) -> dict[str, Any]:
    unknown = {"revision": "", "limits": "", "isolation": "", "trouble": trouble}
    return {"state": str(client.where.state.resolve()), **_names(), **unknown}


def _print(rows: list["Row"], every: bool) -> None:
    shown = [row for row in rows if every or row.fixed or row.verdict != "ok"]
    if shown:
        verdicts = ((row, "fixed" if row.fixed else str(row.verdict)) for row in shown)
        console.table(("CHECK", "", "FOUND"), ((row.check, word, row.text) for row, word in verdicts), empty="")
        console.write()
    remedies = {f"{row.check}: {row.remedy}": None for row in shown if row.remedy and row.verdict != "ok"}
    if remedies:
        console.heading("What to do")
        for line in remedies:
            console.write(f"  {line}")
        console.write()
    count = {word: sum(row.verdict == word for row in rows) for word in ("ok", "warn", "fail")}
    console.write(f"{count['ok']} ok, {count['warn']} to look at, {count['fail']} failed")
    if any(row.fixable for row in rows):
        console.write("`hive doctor --fix` repairs some of it")

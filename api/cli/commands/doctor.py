"""`hive doctor`: looks at everything that an operator would look at, with or without a daemon."""

import os
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.client.exit_codes import Code, Unreachable
from api.cli.client.http import Client
from api.cli.command import DAEMON, JsonOption, command
from api.cli.render import output
from meta.errors import HiveError

if TYPE_CHECKING:
    from meta.config import Config
    from reconciler.upkeep.doctor.checks.base import AgentSaid, Subject
    from reconciler.upkeep.doctor.examine import Row

ANSWER_SECONDS = 20.0
"""A daemon that takes longer to say how it is counts as hanging."""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    command(app, "doctor", DAEMON, examples=("hive doctor", "hive doctor --fix", "hive doctor --json | jq .ok"))(doctor)


def doctor(
    client: Client,
    fix: Annotated[
        bool,
        typer.Option(
            "--fix",
            help="mend what is safe: stale locks, records of dead processes, empty leftovers, missing directories",
        ),
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="show what is right, too")] = False,
    json: JsonOption = False,
) -> None:
    """Check this hive and its host, and say what to do about what is wrong. Exit 1 if anything failed.

    Nothing is changed without --fix. It works without a daemon, too; run it as hive's user.
    """
    import asyncio  # like the rest: no other command needs it

    from reconciler.upkeep.doctor.examine import examine, failed

    client.where.require_own_files()
    subject, complaint = _subject(client)
    rows = [*complaint, *asyncio.run(examine(subject, fix=fix))]
    if json:
        output.say_json({"ok": not failed(rows), "daemon": subject.held, "checks": [asdict(row) for row in rows]})
    else:
        _print(rows, every)
    if failed(rows):
        raise typer.Exit(Code.FAILED)


def _subject(client: Client) -> tuple["Subject", list["Row"]]:
    """What to examine, and what is wrong with the settings in the environment."""
    from meta.layout import Layout
    from reconciler.upkeep.doctor.checks.base import Subject
    from reconciler.upkeep.doctor.examine import is_held

    layout = Layout(client.where.state.resolve(), client.where.runtime.resolve())
    config, complaint = _config()
    subject = Subject(layout, config, held=is_held(layout.lock))
    said = _asked(client)
    if subject.held is (said is None):  # perhaps one started or ended between the two looks
        subject.held = is_held(layout.lock)
    if said is not None:
        from reconciler.upkeep.doctor.checks.base import Daemon

        heard = {"notes": tuple(said.get("notes", ())), "agents": tuple(said.get("agents", ()))}
        subject.daemon = Daemon(**{**said, **heard})
    subject.backend = said["backend"] if said else os.environ.get("HIVE_BACKEND", "local")
    subject.builder = said["builder"] if said else os.environ.get("HIVE_BUILDER", "plain")
    return subject, complaint


def _config() -> tuple["Config", list["Row"]]:
    from meta.config import Config, config_from_environment
    from reconciler.upkeep.doctor.checks.base import Verdict
    from reconciler.upkeep.doctor.examine import Row

    try:
        return config_from_environment(), []
    except HiveError as error:
        return Config.model_validate({}), [Row("settings", Verdict.FAIL, error.summary, error.hint)]


def _asked(client: Client) -> dict[str, Any] | None:
    """What the daemon says of itself; None when none answers."""
    answers: list[dict[str, Any] | None] = []
    # A thread of its own, since a daemon that hangs must not keep the one who wants to know that waiting.
    asking = threading.Thread(target=lambda: answers.append(_ask(client)), daemon=True)
    asking.start()
    asking.join(ANSWER_SECONDS)
    return answers[0] if answers else _mute(client, f"it did not answer within {ANSWER_SECONDS:g} s")


def _ask(client: Client) -> dict[str, Any] | None:
    try:
        status = client.row("/api/status")
    except Unreachable:
        return None
    except HiveError as error:
        return _mute(client, error.summary)
    said: dict[str, Any] = {
        key: str(status[key]) for key in ("state", "revision", "backend", "builder", "limits", "isolation")
    }
    said["notes"] = [str(note) for note in status["notes"]]
    said["agents"] = [_agent(row) for row in status["agents"]]
    try:
        client.get("/healthz")
    except HiveError as error:
        return {**said, "trouble": error.summary}
    return said


def _agent(row: dict[str, Any]) -> "AgentSaid":
    from reconciler.upkeep.doctor.checks.base import AgentSaid

    return AgentSaid(str(row["agent"]), str(row["phase"]), tuple(str(each) for each in row["conditions"]))


def _mute(client: Client, trouble: str) -> dict[str, Any]:
    unknown = {"revision": "", "limits": "", "isolation": "", "trouble": trouble}
    names = {"backend": os.environ.get("HIVE_BACKEND", "local"), "builder": os.environ.get("HIVE_BUILDER", "plain")}
    return {"state": str(client.where.state.resolve()), **names, **unknown}


def _print(rows: list["Row"], every: bool) -> None:
    shown = [row for row in rows if every or row.fixed or row.verdict != "ok"]
    if shown:
        verdicts = ((row, "fixed" if row.fixed else str(row.verdict)) for row in shown)
        output.table(("CHECK", "", "FOUND"), ((row.check, word, row.text) for row, word in verdicts), empty="")
        output.say()
    remedies = {f"{row.check}: {row.remedy}": None for row in shown if row.remedy and row.verdict != "ok"}
    if remedies:
        output.heading("What to do")
        for line in remedies:
            output.say(f"  {line}")
        output.say()
    count = {word: sum(row.verdict == word for row in rows) for word in ("ok", "warn", "fail")}
    output.say(f"{count['ok']} ok, {count['warn']} to look at, {count['fail']} failed")
    if any(row.fixable for row in rows):
        output.say("`hive doctor --fix` mends some of it")
